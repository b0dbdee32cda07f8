use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq};

use crate::settings::Token;

/// The digests of the tokens: comparing them takes the same time for tokens of any length.
#[derive(Clone)]
pub(crate) struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    pub(crate) fn new(tokens: &[Token]) -> Self {
        Self(tokens.iter().map(|token| sha256(token.as_ref().as_bytes())).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, token: &[u8]) -> bool {
        let sent = sha256(token);
        self.0.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&sent)).into()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
