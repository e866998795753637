//! Who may change something: whoever knows the token.

use std::fmt;

use http::{HeaderMap, StatusCode, header};
use ring::{hmac, rand::SystemRandom};
use serde_json::json;

use crate::Token;

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Barred {
    /// Nobody may: there is no token.
    ReadOnly,
    /// None was sent.
    NoToken,
    /// Another one was sent.
    WrongToken,
}

impl Barred {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::ReadOnly | Self::WrongToken => StatusCode::FORBIDDEN,
        }
    }

    fn code_and_detail(self) -> (&'static str, &'static str) {
        match self {
            Self::ReadOnly => ("read_only", "Nothing can be changed here: admin.token is not set."),
            Self::NoToken => ("no_token", "This needs the token: Authorization: Bearer <token>."),
            Self::WrongToken => ("wrong_token", "This is not the token."),
        }
    }
}

impl fmt::Display for Barred {
    /// As JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, detail) = self.code_and_detail();
        writeln!(f, "{}", json!({ "code": code, "detail": detail }))
    }
}

/// Compares tokens in a time that tells nothing of them: what is compared are signatures under a key of this process.
pub(super) struct Guard {
    key: hmac::Key,
    signed: Option<hmac::Tag>,
}

impl Guard {
    /// Of the token that is set, if one is.
    pub(super) fn new(token: &Token) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        // Without random numbers nobody may.
        let signed =
            key.as_ref().ok().zip(token.as_str()).map(|(key, token)| hmac::sign(key, token.as_bytes()));
        Self { key: key.unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, &[])), signed }
    }

    /// Whether anybody may.
    pub(super) fn is_set(&self) -> bool {
        self.signed.is_some()
    }

    /// Lets pass whoever sends the token.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Barred> {
        let signed = self.signed.as_ref().ok_or(Barred::ReadOnly)?;
        let sent = headers.get(header::AUTHORIZATION).ok_or(Barred::NoToken)?.as_bytes();
        let scheme = sent.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
        let token = scheme.and(sent.get(7..)).ok_or(Barred::NoToken)?;
        hmac::verify(&self.key, token, signed.as_ref()).map_err(|_| Barred::WrongToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn only_the_token_opens() {
        let guard = Guard::new(&Token::new("correct horse battery"));
        assert!(guard.is_set());
        for good in ["Bearer correct horse battery", "bearer correct horse battery"] {
            assert_eq!(guard.admit(&sent(good)), Ok(()), "{good}");
        }
        for wrong in
            ["Bearer ", "Bearer correct", "Bearer correct horse battery ", "Bearer correct horse batterx"]
        {
            assert_eq!(guard.admit(&sent(wrong)), Err(Barred::WrongToken), "{wrong}");
        }
        for none in ["", "Bearer", "Basic correct horse battery", "correct horse battery"] {
            assert_eq!(guard.admit(&sent(none)), Err(Barred::NoToken), "{none}");
        }
        assert_eq!(guard.admit(&HeaderMap::new()), Err(Barred::NoToken));
    }

    #[test]
    fn without_one_nobody_may() {
        let guard = Guard::new(&Token::default());
        assert!(!guard.is_set());
        assert_eq!(guard.admit(&sent("Bearer ")), Err(Barred::ReadOnly));
        assert_eq!(guard.admit(&HeaderMap::new()), Err(Barred::ReadOnly));
    }
}
