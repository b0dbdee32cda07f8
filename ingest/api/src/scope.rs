use std::fmt;

use axum::http::Method;
use serde::{Deserialize, Deserializer, de};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// Upload videos.
    Upload,
    /// Read videos, results and models.
    Read,
    /// Everything: cancel and delete videos, add and remove models too.
    Admin,
}

/// Some scopes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scopes {
    upload: bool,
    read: bool,
    admin: bool,
}

impl Scopes {
    pub(crate) const ALL: Self = Self { upload: true, read: true, admin: true };

    pub(crate) fn contain(self, scope: Scope) -> bool {
        self.admin
            || match scope {
                Scope::Upload => self.upload,
                Scope::Read => self.read,
                Scope::Admin => false,
            }
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            One(Scope),
            Several(Vec<Scope>),
        }
        const EXPECTED: &str = "scope is \"upload\", \"read\", \"admin\", or a list of these";
        let given = Given::deserialize(deserializer).map_err(|_| de::Error::custom(EXPECTED))?;
        let given = match given {
            Given::One(scope) => vec![scope],
            Given::Several(scopes) => scopes,
        };
        if given.is_empty() {
            return Err(de::Error::custom(EXPECTED));
        }
        Ok(Self {
            upload: given.contains(&Scope::Upload),
            read: given.contains(&Scope::Read),
            admin: given.contains(&Scope::Admin),
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upload => "upload",
            Self::Read => "read",
            Self::Admin => "admin",
        })
    }
}

/// The scope that a request needs; `None`: any. What is not known here needs the widest.
pub(crate) fn needed(method: &Method, path: &str) -> Option<Scope> {
    let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    match path {
        "/" if is_read => None,
        _ if is_read => Some(Scope::Read),
        "/" | "/videos" if *method == Method::POST => Some(Scope::Upload),
        // Nothing is stored.
        _ if *method == Method::POST && path.ends_with("/analyses") => Some(Scope::Read),
        _ => Some(Scope::Admin),
    }
}
