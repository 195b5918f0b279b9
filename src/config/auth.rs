//! The AUTH keys of `[receiver]`, typed: who may log in at the receiver, and who must.

use super::values::{self, Values};
use crate::smtp::{Accept, Auth, MAX_USER, Pair};

/// Reads the keys. `smtpuser` and `smtppasswd` are pairs, by position: lists that do not match are
/// an error, for else a user would have the next one's password.
pub(super) fn read(values: &Values, warnings: &mut Vec<String>) -> Result<Auth, String> {
    let column = |name| values::items_kept(values.text("receiver", name)).collect::<Vec<_>>();
    let (users, passwords) = (column("smtpuser"), column("smtppasswd"));
    if users.len() != passwords.len() {
        return Err(format!(
            "[receiver] smtpuser has {} names and smtppasswd {} passwords; give each name its \
             password, in the same order",
            users.len(),
            passwords.len()
        ));
    }
    if let Some(at) = users
        .iter()
        .position(|user| user.is_empty() || user.len() > MAX_USER)
    {
        return Err(format!(
            "[receiver] smtpuser: name {} of {} has {} bytes; it must have 1 to {MAX_USER}",
            at + 1,
            users.len(),
            users[at].len()
        ));
    }
    let auth = Auth {
        required: values.bool("receiver", "authenabled"),
        accept: match values.text("receiver", "authaccept") {
            "any" => Accept::Any,
            "none" => Accept::None,
            _ => Accept::Listed,
        },
        pairs: users.iter().zip(&passwords).map(pair).collect(),
    };
    warn(&auth, warnings);
    Ok(auth)
}

fn pair((user, password): (&&str, &&str)) -> Pair {
    Pair {
        user: user.as_bytes().to_vec(),
        password: password.as_bytes().to_vec(),
    }
}

/// A receiver that takes no mail is worth a word.
fn warn(auth: &Auth, warnings: &mut Vec<String>) {
    let nobody = match auth.accept {
        Accept::Any => return,
        Accept::Listed if !auth.pairs.is_empty() => return,
        Accept::Listed => "smtpuser is empty",
        Accept::None => "authaccept : none lets nobody in",
    };
    if auth.required {
        warnings.push(format!(
            "authenabled : True, but {nobody}: attempts to log in are collected, and no mail"
        ));
    }
}
