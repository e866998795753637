//! Passwords of accounts: where they come from, and how they stand in a rule. Redis is given their SHA-256 only.

use std::io::BufRead;

use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};

use crate::{args::AclArgs, failure::Failure};

/// Random bytes of a password.
const RANDOM_BYTES: usize = 32;

/// A password of an account.
pub(crate) struct Password {
    /// Its SHA-256 in hexadecimal digits.
    hash: String,
    /// The password itself, if it was made here.
    pub(crate) generated: Option<String>,
}

impl Password {
    fn of(text: &str) -> Self {
        Self { hash: hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()), generated: None }
    }

    fn generate() -> Result<Self, Failure> {
        let mut bytes = [0; RANDOM_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Failure::new("the system gives no random bytes for a password"))?;
        let text = hex(&bytes);
        Ok(Self { generated: Some(text.clone()), ..Self::of(&text) })
    }

    /// As it stands among the rules of an account.
    pub(crate) fn rule(&self) -> String {
        format!("#{}", self.hash)
    }
}

/// A password for each account, or for none.
///
/// Errors: there are not as many as accounts, or one is empty.
pub(crate) fn passwords(args: &AclArgs) -> Result<Vec<Option<Password>>, Failure> {
    let count = args.users.len();
    let given: Vec<Password> = if args.generate {
        args.users.iter().map(|_| Password::generate()).collect::<Result<_, _>>()?
    } else if args.password_stdin {
        from_stdin(count)?
    } else if !args.password_env.is_empty() {
        args.password_env.iter().map(|name| from_variable(name)).collect::<Result<_, _>>()?
    } else {
        args.password_hash.iter().map(|hash| Password { hash: hash.clone(), generated: None }).collect()
    };
    match given.len() {
        0 => Ok(args.users.iter().map(|_| None).collect()),
        len if len == count => Ok(given.into_iter().map(Some).collect()),
        len => Err(Failure::usage([format!(
            "{len} passwords for {count} accounts: one for each, in the order of --user"
        )])),
    }
}

/// A line for each account.
fn from_stdin(count: usize) -> Result<Vec<Password>, Failure> {
    let lines = std::io::stdin().lock().lines().take(count);
    let lines: Vec<String> = lines
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::new(format!("cannot read passwords from standard input: {error}")))?;
    if lines.len() < count || lines.iter().any(String::is_empty) {
        return Err(Failure::usage([format!(
            "standard input has no password for each of {count} accounts, a line each"
        )]));
    }
    Ok(lines.iter().map(|line| Password::of(line)).collect())
}

fn from_variable(name: &str) -> Result<Password, Failure> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => Ok(Password::of(&text)),
        _ => Err(Failure::usage([format!("the variable {name} holds no password")])),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stands_as_its_hash() {
        // printf %s secret | sha256sum
        let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(Password::of("secret").rule(), format!("#{hash}"));
        let (one, other) = (Password::generate().expect("made"), Password::generate().expect("made"));
        assert_ne!(one.generated, other.generated);
        let text = one.generated.as_deref().expect("kept");
        assert_eq!((text.len(), Password::of(text).rule()), (64, one.rule()));
    }
}
