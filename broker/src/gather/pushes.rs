//! Values for the end of one list, in one command.

use bytes::Bytes;
use redis::{Cmd, Value};

use super::Answers;
use crate::{Error, Faults, claim::next, fault::PUSHES};

/// Values in one command: Redis serves nobody else while it takes them in.
const VALUES_MAX: u64 = 128;
/// Bytes of a value that goes together with others.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// Lists whose last command is remembered.
const LISTS_MAX: usize = 16;

/// The pushes of a batch.
#[derive(Default)]
pub(super) struct Pushes(Vec<Push>);

/// A command that pushes.
struct Push {
    list: String,
    /// Where it stands among the commands.
    command: usize,
    values: u64,
}

/// Where a value stands.
#[derive(Clone, Copy)]
pub(super) struct Pushed {
    push: usize,
    /// From 0.
    place: u64,
}

impl Pushes {
    /// Adds a value to the last command that pushes to its list, or a command.
    pub(super) fn add(&mut self, commands: &mut Vec<Cmd>, list: &str, value: &Bytes) -> Pushed {
        let push = match self.open(list).filter(|_| value.len() <= VALUE_BYTES_MAX) {
            Some(push) => push,
            None => {
                commands.push(first(list));
                self.0.push(Push { list: list.to_owned(), command: commands.len() - 1, values: 0 });
                self.0.len() - 1
            }
        };
        let Push { command, values, .. } = &mut self.0[push];
        commands[*command].arg(value.as_ref());
        *values += 1;
        Pushed { push, place: *values - 1 }
    }

    /// A command to which one more value may be added.
    fn open(&self, list: &str) -> Option<usize> {
        let lately = self.0.len().saturating_sub(LISTS_MAX)..self.0.len();
        lately.rev().find(|push| self.0[*push].list == list).filter(|push| self.0[*push].values < VALUES_MAX)
    }

    /// Tells what became of them to whoever says what is wrong with Redis.
    pub(super) fn report(&self, answers: &Answers, faults: &Faults) {
        let refused = |push: &Push| match answers {
            Ok(answers) => answers.get(push.command)?.as_ref().err(),
            Err(error) => Some(error),
        };
        for push in &self.0 {
            match refused(push) {
                Some(error) => faults.failed(PUSHES, error),
                None => faults.well(PUSHES),
            }
        }
    }

    /// How deep the list was with this value as its last.
    pub(super) fn depth(&self, answers: &[Result<Value, Error>], pushed: Pushed) -> Result<u64, Error> {
        let push = &self.0[pushed.push];
        let depth: u64 = next(&mut answers.get(push.command).cloned().into_iter())?;
        Ok(depth.saturating_sub(push.values - 1 - pushed.place))
    }
}

/// The command, with room for a few values.
fn first(list: &str) -> Cmd {
    let mut push = Cmd::with_capacity(16, 4 << 10);
    push.arg("RPUSH").arg(list);
    push
}
