//! From PM2's ecosystem file to a running primary: `import-pm2`, `check`, and what was translated.

use std::fs;
use std::process::{Command, Output};

use crate::harness::{Setup, program};

const ECOSYSTEM: &str = "
const port = Number(process.env.WEB_PORT);
module.exports = {
  apps: [{
    name: 'web', script: SCRIPT, instances: 2, exec_mode: 'cluster', max_memory_restart: '300M', kill_timeout: 3000,
    env: { PORT: 1 }, env_production: { PORT: port },
  }],
};
";

fn primary(words: &[&str], port: u16) -> Output {
    Command::new(env!("CARGO_BIN_EXE_primary")).args(words).env("WEB_PORT", port.to_string()).output().unwrap()
}

#[test]
fn an_ecosystem_file_in_javascript_becomes_a_file_that_is_checked_and_runs() {
    let setup = Setup::bare(crate::harness::free_port(), crate::harness::free_port());
    let (folder, port) = (setup.folder().to_path_buf(), setup.port);
    let file = folder.join("ecosystem.config.js");
    fs::write(&file, ECOSYSTEM.replace("SCRIPT", &format!("{:?}", program("cluster.js")))).unwrap();
    let (file, out) = (file.display().to_string(), folder.display().to_string());
    let imported = primary(&["import-pm2", &file, "--env", "production", "--output", &out], port);
    assert!(imported.status.success(), "{imported:?}");

    let config = folder.join("web.toml").display().to_string();
    let checked = primary(&["check", "--config", &config], port);
    let report = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{checked:?}");
    for line in ["workers      2", "drain        3 s", "Node channel yes", "above 300 MiB"] {
        assert!(report.contains(line), "{line} is missing in:\n{report}");
    }

    let admin = format!("127.0.0.1:{}", setup.admin);
    let started = setup.option("--config", &config).option("--admin", &admin).env("PORT", &port.to_string());
    let running = started.run_configured();
    running.wait_ready(2);
    assert_eq!(running.different_answers(2).len(), 2);
}

#[test]
fn an_ecosystem_file_that_cannot_be_loaded_is_refused_with_nodes_reason() {
    let setup = Setup::bare(crate::harness::free_port(), crate::harness::free_port());
    let file = setup.folder().join("ecosystem.config.js");
    fs::write(&file, "module.exports = { apps: [ }").unwrap();
    let refused = primary(&["import-pm2", &file.display().to_string()], 1);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && words.contains("SyntaxError") && words.contains("ecosystem.config.js"),
        "{words}"
    );
}
