//! Who may do what: the tokens of the settings, and those of a file that is read again when it
//! changes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::Deserialize;
use subtle::{ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;
use tracing::{error, info};

use crate::scope::{Scope, Scopes};
use crate::settings::{HttpSettings, Token};

const INTERVAL: Duration = Duration::from_secs(1);
const LARGEST_FILE: u64 = 1 << 20;
const LONGEST_NAME: usize = 64;
/// The name of everybody who has a token of `http.tokens`.
const OF_SETTINGS: &str = "http.tokens";
/// The name of everybody where no token is needed.
const ANYONE: &str = "anyone";

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The name of the token.
    pub(crate) name: Arc<str>,
    scopes: Scopes,
}

impl Caller {
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.contain(scope)
    }
}

/// A token by its digest: comparing digests takes the same time for tokens of any length.
#[derive(Clone)]
struct Known {
    digest: [u8; 32],
    caller: Caller,
}

/// The tokens that clients may send.
pub(crate) struct Tokens {
    of_settings: Vec<Known>,
    file: Option<PathBuf>,
    of_file: RwLock<Arc<Vec<Known>>>,
}

/// Why a file with tokens cannot be used.
#[derive(Debug, Error)]
pub enum TokensFileError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] std::io::Error),
    /// It is not TOML, or has other fields.
    #[error("{}", .0.message())]
    Malformed(#[from] toml::de::Error),
    /// A token is not usable.
    #[error("token {name:?}: {reason}")]
    Token {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    scope: Scopes,
    token: Option<String>,
    sha256: Option<String>,
}

impl Tokens {
    /// Those of the settings, and those of the file that they name.
    pub(crate) fn open(settings: &HttpSettings) -> Result<Self, TokensFileError> {
        let caller = Caller { name: OF_SETTINGS.into(), scopes: Scopes::ALL };
        let known = |token: &Token| Known {
            digest: sha256(token.as_ref().as_bytes()),
            caller: caller.clone(),
        };
        let file = settings.tokens_file.clone();
        let of_file = file.as_deref().map(read).transpose()?.unwrap_or_default();
        Ok(Self {
            of_settings: settings.tokens.iter().map(known).collect(),
            of_file: RwLock::new(parse(&of_file)?.into()),
            file,
        })
    }

    /// Whether a request needs a token.
    pub(crate) fn are_required(&self) -> bool {
        !self.of_settings.is_empty() || self.file.is_some()
    }

    /// Who has this token. Takes the same time whichever it is.
    pub(crate) fn caller(&self, token: Option<&[u8]>) -> Option<Caller> {
        if !self.are_required() {
            return Some(Caller { name: ANYONE.into(), scopes: Scopes::ALL });
        }
        let sent = sha256(token?);
        let of_file = Arc::clone(&self.of_file.read().unwrap_or_else(PoisonError::into_inner));
        let known: Vec<_> = self.of_settings.iter().chain(of_file.iter()).collect();
        let mut found = 0;
        for (number, known) in (1..).zip(&known) {
            found.conditional_assign(&number, known.digest.ct_eq(&sent));
        }
        let found = usize::try_from(found).ok()?.checked_sub(1)?;
        known.get(found).map(|known| known.caller.clone())
    }

    /// Reads the file again whenever it changes, without end. One that cannot be used changes
    /// nothing.
    pub(crate) async fn follow(&self) {
        let Some(file) = &self.file else { return std::future::pending().await };
        // What was read last, or why nothing was.
        let mut last = read(file).map_err(|error| error.to_string());
        loop {
            tokio::time::sleep(INTERVAL).await;
            let path = file.clone();
            let text = tokio::task::spawn_blocking(move || read(&path)).await;
            let Ok(text) = text else { continue };
            let text = text.map_err(|error| error.to_string());
            if text == last {
                continue;
            }
            let file = file.display();
            match text.as_deref().map(parse) {
                Ok(Ok(tokens)) => {
                    info!(tokens = tokens.len(), %file, "read the tokens again");
                    let mut of_file = self.of_file.write().unwrap_or_else(PoisonError::into_inner);
                    *of_file = tokens.into();
                }
                Ok(Err(error)) => error!(%error, %file, "the tokens stay as they were"),
                Err(error) => error!(error, %file, "the tokens stay as they were"),
            }
            last = text;
        }
    }
}

fn read(file: &Path) -> Result<String, TokensFileError> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(std::io::Error::other("it is larger than 1 MiB").into());
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Vec<Known>, TokensFileError> {
    let mut found: Vec<Known> = Vec::new();
    for Entry { name, scope, token, sha256: hash } in toml::from_str::<File>(text)?.token {
        let is_named = (1..=LONGEST_NAME).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_graphic())
            && ![OF_SETTINGS, ANYONE].contains(&name.as_str());
        let digest = match (token.map(Token::from), hash.as_deref().map(from_hex)) {
            _ if !is_named => Err("a name has 1 to 64 printable ASCII characters, without blanks"),
            _ if found.iter().any(|known| *known.caller.name == *name) => {
                Err("two tokens have this name")
            }
            (Some(token), None) if token.is_usable() => Ok(sha256(token.as_ref().as_bytes())),
            (Some(_), None) => {
                Err("a token has at least 8 printable ASCII characters, without blanks")
            }
            (None, Some(Some(digest))) => Ok(digest),
            (None, Some(None)) => Err("sha256 has 64 hexadecimal digits"),
            _ => Err("give either token or sha256"),
        };
        let digest = digest.map_err(|reason| TokensFileError::Token {
            name: name.chars().take(LONGEST_NAME).collect(),
            reason,
        })?;
        found.push(Known { digest, caller: Caller { name: name.into(), scopes: scope } });
    }
    Ok(found)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(settings: HttpSettings, text: &str) -> Tokens {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens.toml");
        std::fs::write(&file, text).unwrap();
        Tokens::open(&HttpSettings { tokens_file: Some(file), ..settings }).unwrap()
    }

    #[test]
    fn a_token_is_known_by_its_name_and_scope() {
        let settings = HttpSettings {
            tokens: vec![Token::from("of-settings".to_owned())],
            ..Default::default()
        };
        let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let tokens = tokens(
            settings,
            &format!(
                "[[token]]\nname = \"gate\"\nscope = \"upload\"\ntoken = \"gate-secret\"\n\
                 [[token]]\nname = \"wall\"\nscope = [\"read\", \"upload\"]\nsha256 = \"{hash}\"\n"
            ),
        );
        let caller = |token: &str| tokens.caller(Some(token.as_bytes()));
        let gate = caller("gate-secret").unwrap();
        assert_eq!(&*gate.name, "gate");
        assert!(gate.may(Scope::Upload) && !gate.may(Scope::Read) && !gate.may(Scope::Admin));
        let wall = caller("secret").unwrap();
        assert!(wall.may(Scope::Upload) && wall.may(Scope::Read) && !wall.may(Scope::Admin));
        let all = caller("of-settings").unwrap();
        assert!(all.may(Scope::Admin) && all.may(Scope::Read) && all.may(Scope::Upload));
        assert_eq!((caller("gate-secre"), caller(""), tokens.caller(None)), (None, None, None));
    }

    #[test]
    fn an_empty_file_lets_nobody_in() {
        let tokens = tokens(HttpSettings::default(), "");
        assert!(tokens.are_required() && tokens.caller(Some(b"anything")).is_none());
        let open = Tokens::open(&HttpSettings::default()).unwrap();
        assert!(open.caller(None).unwrap().may(Scope::Admin));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_secrets() {
        let entry = |fields: &str| format!("[[token]]\nname = \"gate\"\n{fields}\n");
        for (text, expected) in [
            ("[[token]]\nname = 5".into(), "string"),
            (entry("scope = \"upload\""), "either token or sha256"),
            (entry("scope = \"everything\"\ntoken = \"long-secret\""), "admin"),
            (entry("scope = []\ntoken = \"long-secret\""), "scope"),
            (entry("scope = \"upload\"\ntoken = \"short\""), "at least 8"),
            (entry("scope = \"upload\"\nsha256 = \"zz\""), "64 hexadecimal"),
            (entry("scope = \"upload\"\ntoken = \"long-secret\"").repeat(2), "this name"),
            (entry("scope = \"upload\"\ntoken = \"long-secret\"\nother = 1"), "other"),
        ] {
            let error = parse(&text).err().unwrap().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("long-secret"), "{error}");
        }
    }
}
