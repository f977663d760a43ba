//! Plans: which fault happens at which call. A plan is a value; what it prints is enough to run it again.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Context, Error, bail};

use crate::{
    call::{Call, Verb},
    workload::{Scenario, Workload},
};

/// A workload, and the faults that happen to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is done.
    pub scenario: Scenario,
    /// What fails.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// At which kind of call.
    pub call: Call,
    /// At the how many-th of this kind since the workload began, from 1.
    pub nth: u32,
    /// What happens.
    pub action: Action,
}

/// What happens to a call. Those of [`Verb::Event`] happen to a line of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The connection is closed, and nothing is sent on.
    Drop,
    /// Nothing is sent on, and nothing is answered.
    Hang,
    /// Sent on later.
    Delay(Duration),
    /// Sent on, and the connection is reset.
    Reset,
    /// Sent on, and the answer never comes.
    Swallow,
    /// Sent on, and the answer is an error of this code.
    Garble(u16),
    /// Sent on twice; the first answer comes back.
    Duplicate,
    /// Sent on twice; the second answer comes back.
    Second,
    /// Refused with this code; nothing is sent on.
    Refuse(u16),
    /// The operator is killed before the call is sent on.
    CrashBefore,
    /// Sent on, and the operator is killed before it sees the answer.
    CrashUnanswered,
    /// The operator is killed when it has the answer.
    CrashAfter,
    /// Watch: this line and all that follow come later; then all at once.
    Freeze(Duration),
    /// Watch: this line comes twice.
    Repeat,
    /// Watch: it ends in good order before this line.
    Cut,
    /// Watch: the connection breaks within this line.
    Tear,
    /// Watch: all lines from its beginning come again before this one.
    Replay,
    /// Watch: an error 410 comes in place of this line, and the end.
    Expire,
}

/// Actions without a number, with their words.
const PLAIN: [(Action, &str); 14] = [
    (Action::Drop, "drop"),
    (Action::Hang, "hang"),
    (Action::Reset, "reset"),
    (Action::Swallow, "swallow"),
    (Action::Duplicate, "duplicate"),
    (Action::Second, "second"),
    (Action::CrashBefore, "crash-before"),
    (Action::CrashUnanswered, "crash-unanswered"),
    (Action::CrashAfter, "crash-after"),
    (Action::Repeat, "repeat"),
    (Action::Cut, "cut"),
    (Action::Tear, "tear"),
    (Action::Replay, "replay"),
    (Action::Expire, "expire"),
];

/// Where a crash can come.
pub const CRASHES: [Action; 3] = [Action::CrashBefore, Action::CrashUnanswered, Action::CrashAfter];

// === impl Action ===

impl Action {
    /// Whether the operator is killed.
    #[must_use]
    pub fn is_crash(self) -> bool {
        CRASHES.contains(&self)
    }

    /// Whether the call is done, and the operator cannot know it.
    #[must_use]
    pub fn leaves_doubt(self) -> bool {
        matches!(self, Self::Reset | Self::Swallow | Self::Garble(500..))
    }

    /// How much older it makes the operator's view.
    #[must_use]
    pub fn lag(self) -> Duration {
        match self {
            Self::Freeze(time) | Self::Delay(time) => time,
            // The operator gives up after 10 s, and waits a little before it tries again.
            Self::Hang | Self::Swallow => Duration::from_secs(12),
            _ => Duration::from_secs(1),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(time) => write!(f, "delay-{}", time.as_millis()),
            Self::Freeze(time) => write!(f, "freeze-{}", time.as_millis()),
            Self::Garble(code) => write!(f, "garble-{code}"),
            Self::Refuse(code) => write!(f, "refuse-{code}"),
            plain => f.write_str(PLAIN.iter().find(|(action, _)| action == plain).map_or("", |(_, word)| word)),
        }
    }
}

impl FromStr for Action {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some((action, _)) = PLAIN.iter().find(|(_, word)| *word == text) {
            return Ok(*action);
        }
        let (word, number) = text.rsplit_once('-').with_context(|| format!("{text} is no action"))?;
        Ok(match word {
            "delay" => Self::Delay(Duration::from_millis(number.parse()?)),
            "freeze" => Self::Freeze(Duration::from_millis(number.parse()?)),
            "garble" => Self::Garble(number.parse()?),
            "refuse" => Self::Refuse(number.parse()?),
            _ => bail!("{text} is no action"),
        })
    }
}

// === impl Fault ===

impl Fault {
    /// A fault at the `nth` call of this kind, from 1.
    #[must_use]
    pub fn new(verb: Verb, class: &str, nth: u32, action: Action) -> Self {
        Self { call: Call::new(verb, class), nth, action }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}={}", self.call, self.nth, self.action)
    }
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (at, action) = text.split_once('=').with_context(|| format!("{text}: no action"))?;
        let (call, nth) = at.split_once('#').with_context(|| format!("{text}: no number"))?;
        let (verb, class) = call.split_once(':').with_context(|| format!("{text}: no class"))?;
        Ok(Self { call: Call::new(verb.parse()?, class), nth: nth.parse()?, action: action.parse()? })
    }
}

// === impl Plan ===

impl Plan {
    /// How much older the faults make the operator's view, all together.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.faults.iter().map(|fault| fault.action.lag()).sum()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.scenario.workload, self.scenario.size)?;
        self.faults.iter().try_for_each(|fault| write!(f, " {fault}"))
    }
}

impl FromStr for Plan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut words = text.split_whitespace();
        let scenario = words.next().context("an empty plan")?;
        let (workload, size) = scenario.split_once('/').with_context(|| format!("{scenario}: no size"))?;
        let workload: Workload = workload.parse()?;
        let faults = words.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { scenario: Scenario { workload, size: size.parse()? }, faults })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plan_prints_is_that_plan() -> anyhow::Result<()> {
        let text = "scale-up/3 create:pods#2=crash-unanswered event:pods#4=freeze-1500 apply:workerclusters/status#1=refuse-429";
        let plan: Plan = text.parse()?;
        assert_eq!(plan.to_string(), text);
        assert_eq!(plan.faults[2], Fault::new(Verb::Apply, "workerclusters/status", 1, Action::Refuse(429)));
        for (action, word) in PLAIN {
            assert_eq!((word.parse::<Action>()?, action.to_string().as_str()), (action, word));
        }
        Ok(())
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        for text in [
            "",
            "create",
            "nothing/3",
            "create/3 create:pods=drop",
            "create/3 create:pods#1=explode",
            "create/3 fly:pods#1=drop",
        ] {
            assert!(text.parse::<Plan>().is_err(), "{text}");
        }
    }
}
