//! Whether somebody wants what cannot be taken back.

use std::io::{IsTerminal, Write, stdin};

use crate::failure::Failure;

/// Asks at the terminal, unless it was agreed to before. False: no.
///
/// Errors: there is no terminal, and nobody agreed to it.
pub(crate) fn given(what: &str, yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !stdin().is_terminal() {
        return Err(Failure::usage([format!("{what}: say --yes if that is meant")]));
    }
    eprint!("{what}? [y/N] ");
    std::io::stderr().flush().ok(); // nobody may be left to read it
    let mut answer = String::new();
    stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
