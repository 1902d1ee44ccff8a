//! Tokens: proof of which gateway calls. A gateway's token is the lowercase hex HMAC-SHA256 of its name under the
//! controller's key, so the controller stores nothing per gateway and a leaked token speaks for one gateway only.
//!
//! Two keys can be valid at once, for rotation: the first signs new tokens, both are accepted. Comparison takes
//! constant time. Keys never appear in logs or errors.

mod key_file;
mod secret;
mod verifier;

use std::fmt::{self, Write as _};

use gaugeway_wire::GatewayName;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

pub use key_file::{KeyFileError, read_keys};
pub(crate) use verifier::Verifier;

/// A key's least length. Shorter ones could be guessed from a token.
pub const KEY_BYTES_MIN: usize = 32;
/// Keys in one file.
pub const KEYS_MAX: usize = 2;
/// What replicas sign instead of a gateway's name. No gateway can have it: names have no spaces.
const REPLICA: &str = "a replica of the controller";
/// Longest hex text of a key that is read.
const KEY_HEX_MAX: usize = 1024;

/// A token in its text form, lowercase hex. Its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is 64 lowercase hex digits; make one with: gaugeway token")]
pub struct TokenError;

/// One or two keys; the first signs.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    signing: Key,
    older: Option<Key>,
}

#[derive(Clone, PartialEq, Eq)]
struct Key(Vec<u8>);

/// Why a text is not one or two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Nothing but blank lines and comments.
    #[error("there is no key; write one with: gaugeway token --new-key")]
    Empty,
    /// More than [`KEYS_MAX`].
    #[error("there are more than two keys; keep the new one first and the old one second")]
    TooMany,
    /// Not hex.
    #[error("line {0} is not hex digits; write a key with: gaugeway token --new-key")]
    NotHex(usize),
    /// Shorter than [`KEY_BYTES_MIN`].
    #[error("the key on line {0} is shorter than 32 bytes (64 hex digits)")]
    TooShort(usize),
    /// Longer than any sensible key.
    #[error("the key on line {0} is longer than 512 bytes")]
    TooLong(usize),
}

impl Keys {
    /// Reads one key per line, in hex. Blank lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// [`KeysError`], which names the line and never the key.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut keys = Vec::with_capacity(KEYS_MAX);
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if keys.len() == KEYS_MAX {
                return Err(KeysError::TooMany);
            }
            keys.push(Key::parse(line, number + 1)?);
        }
        let mut keys = keys.into_iter();
        Ok(Self {
            signing: keys.next().ok_or(KeysError::Empty)?,
            older: keys.next(),
        })
    }

    /// The token of a gateway under the first key.
    #[must_use]
    pub fn token(&self, gateway: &GatewayName) -> Token {
        self.sign(gateway.as_str())
    }

    /// Whether `presented` is the gateway's token under one of the keys. Takes the same time whichever byte differs.
    #[must_use]
    pub fn verify(&self, gateway: &GatewayName, presented: &str) -> bool {
        self.is_signed(gateway.as_str(), presented)
    }

    /// Something that belongs to a gateway and opens nothing.
    #[must_use]
    pub(crate) fn secret(&self, gateway: &GatewayName) -> Token {
        self.sign(&format!("callout {}", gateway.as_str()))
    }

    /// The token by which replicas know each other.
    #[must_use]
    pub(crate) fn replica_token(&self) -> Token {
        self.sign(REPLICA)
    }

    /// As [`Keys::verify`], for a replica.
    #[must_use]
    pub(crate) fn verify_replica(&self, presented: &str) -> bool {
        self.is_signed(REPLICA, presented)
    }

    fn sign(&self, name: &str) -> Token {
        Token(to_hex(&self.signing.mac(name).finalize().into_bytes()))
    }

    fn is_signed(&self, name: &str, presented: &str) -> bool {
        let Some(presented) = from_hex(presented) else {
            return false;
        };
        let signing = self.signing.mac(name).verify_slice(&presented).is_ok();
        let older = self
            .older
            .as_ref()
            .is_some_and(|key| key.mac(name).verify_slice(&presented).is_ok());
        signing | older
    }
}

impl Key {
    fn parse(hex: &str, line: usize) -> Result<Self, KeysError> {
        if hex.len() > KEY_HEX_MAX {
            return Err(KeysError::TooLong(line));
        }
        let bytes = from_hex(hex).ok_or(KeysError::NotHex(line))?;
        if bytes.len() < KEY_BYTES_MIN {
            return Err(KeysError::TooShort(line));
        }
        Ok(Self(bytes))
    }

    fn mac(&self, name: &str) -> Hmac<Sha256> {
        #[allow(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length fits");
        mac.update(name.as_bytes());
        mac
    }
}

impl Token {
    /// The text that goes after `Bearer `.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenError)
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = 1 + usize::from(self.older.is_some());
        write!(f, "Keys({count})")
    }
}

/// A fresh key from the system's randomness, in hex.
///
/// # Errors
/// When the system has no randomness to give.
pub fn new_key() -> Result<String, getrandom::Error> {
    let mut bytes = [0; KEY_BYTES_MIN];
    getrandom::fill(&mut bytes)?;
    Ok(to_hex(&bytes))
}

/// Lowercase hex.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |d: &u8| {
        char::from(*d)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const B: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn gateway(name: &str) -> GatewayName {
        GatewayName::try_new(name).unwrap()
    }

    #[test]
    fn token_is_hmac_sha256_of_the_name_in_hex() {
        // Independently: printf %s demo/edge | openssl dgst -sha256 -mac HMAC -macopt hexkey:$A
        let token = Keys::parse(A).unwrap().token(&gateway("demo/edge"));
        assert_eq!(
            token.as_str(),
            "134d7919475260ed0d1e07f112a3a0c93fa30280331a32fda3596a1e81a30856"
        );
    }

    #[test]
    fn a_token_speaks_for_its_gateway_only() {
        let keys = Keys::parse(A).unwrap();
        let token = keys.token(&gateway("a/gw"));
        assert!(keys.verify(&gateway("a/gw"), token.as_str()));
        assert!(!keys.verify(&gateway("b/gw"), token.as_str()));
        assert!(!keys.verify(&gateway("a/gw"), ""));
        assert!(!keys.verify(&gateway("a/gw"), "zz"));
        assert!(!keys.verify(&gateway("a/gw"), &token.as_str()[..62]));
    }

    #[test]
    fn a_replicas_token_is_no_gateways() {
        let keys = Keys::parse(A).unwrap();
        assert!(GatewayName::try_new(REPLICA).is_err());
        assert!(keys.verify_replica(keys.replica_token().as_str()));
        assert!(!keys.verify_replica(keys.token(&gateway("a/gw")).as_str()));
        assert!(!keys.verify(&gateway("a/gw"), keys.replica_token().as_str()));
    }

    #[test]
    fn during_rotation_both_keys_are_good_and_the_first_signs() {
        let (old, both, new) = (
            Keys::parse(A).unwrap(),
            Keys::parse(&format!("# rotated\n{B}\n\n{A}\n")).unwrap(),
            Keys::parse(B).unwrap(),
        );
        let gw = gateway("a/gw");
        assert_eq!(both.token(&gw), new.token(&gw));
        assert!(both.verify(&gw, old.token(&gw).as_str()));
        assert!(!new.verify(&gw, old.token(&gw).as_str()));
    }

    #[test]
    fn bad_key_files_say_which_line() {
        assert_eq!(Keys::parse("\n# none\n"), Err(KeysError::Empty));
        assert_eq!(Keys::parse("\nxyz"), Err(KeysError::NotHex(2)));
        assert_eq!(Keys::parse("abcd"), Err(KeysError::TooShort(1)));
        assert_eq!(Keys::parse(&"ab".repeat(513)), Err(KeysError::TooLong(1)));
        assert_eq!(
            Keys::parse(&format!("{A}\n{B}\n{A}")),
            Err(KeysError::TooMany)
        );
    }

    #[test]
    fn a_new_key_is_a_key_and_debug_shows_none() {
        let key = new_key().unwrap();
        let keys = Keys::parse(&key).unwrap();
        assert_eq!(format!("{keys:?}"), "Keys(1)");
        assert_ne!(key, new_key().unwrap());
    }
}
