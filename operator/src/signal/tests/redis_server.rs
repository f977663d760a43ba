//! A real redis-server of the test's own, on an unused loopback port; it ends with this value.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::signal::target::{Endpoint, Query, QueueSource};

pub(super) struct RedisServer {
    child: Child,
    pub(super) port: u16,
    password: Option<&'static str>,
}

impl RedisServer {
    pub(super) fn start() -> Self {
        Self::start_at(unused_port(), None)
    }

    pub(super) fn with_password(password: &'static str) -> Self {
        Self::start_at(unused_port(), Some(password))
    }

    pub(super) fn start_at(port: u16, password: Option<&'static str>) -> Self {
        let mut command = Command::new("redis-server");
        let port_text = port.to_string();
        command.args([
            "--port",
            &port_text,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ]);
        if let Some(password) = password {
            command.args(["--requirepass", password]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("these tests need redis-server on PATH (apt-get install redis-server)");
        let server = Self { child, port, password };
        let deadline = Instant::now() + super::PATIENCE;
        while let Err(error) = server.connect() {
            assert!(Instant::now() < deadline, "redis-server on port {port} does not answer: {error}");
            sleep(Duration::from_millis(10));
        }
        server
    }

    pub(super) fn connect(&self) -> redis::RedisResult<redis::Connection> {
        let password = self.password.map(|password| format!(":{password}@")).unwrap_or_default();
        let mut connection =
            redis::Client::open(format!("redis://{password}127.0.0.1:{}", self.port))?.get_connection()?;
        redis::cmd("PING").exec(&mut connection)?;
        Ok(connection)
    }

    /// Runs commands, one a line, words apart by spaces.
    pub(super) fn run(&self, commands: &str) {
        let mut connection = self.connect().unwrap();
        for command in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = command.split(' ');
            let mut cmd = redis::cmd(words.next().unwrap());
            words.for_each(|word| _ = cmd.arg(word));
            cmd.query::<redis::Value>(&mut connection).unwrap_or_else(|error| panic!("{command}: {error}"));
        }
    }

    /// A figure of `INFO`.
    pub(super) fn info(&self, name: &str) -> u64 {
        let info: String = redis::cmd("INFO").query(&mut self.connect().unwrap()).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {info}")).trim().parse().unwrap()
    }

    pub(super) fn endpoint(&self, password: Option<&str>) -> Endpoint {
        Endpoint { address: format!("127.0.0.1:{}", self.port).into(), database: 0, password: password.map(Into::into) }
    }

    pub(super) fn list(&self, key: &str) -> QueueSource {
        QueueSource { endpoint: self.endpoint(self.password), query: Query::List { key: key.into() } }
    }

    pub(super) fn stream(&self, key: &str, group: &str) -> QueueSource {
        let query = Query::Stream { key: key.into(), group: group.into() };
        QueueSource { endpoint: self.endpoint(self.password), query }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listened on just now.
fn unused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
