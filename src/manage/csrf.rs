//! Requests that another site makes with the host's cookie are refused, whatever that cookie is: a signed double-submit cookie.
//!
//! A client asks for a token and gets it in the answer and in a cookie, and sends both with each request that changes something.
//! Another site can make a browser send the cookie and cannot read the token; a cookie whose name begins with `__Host-` is set by this
//! very host alone. The token is of one user of one organization, under a secret that the servers of a realm share, and has an end.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use http::header::COOKIE;
use http::{HeaderMap, StatusCode};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::problem::Problem;
use super::state::ManageState;
use crate::issue::{IssueError, Principal};
use crate::key::Timestamp;

/// A token, and until when it is good.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) expires_at: Timestamp,
}

impl Token {
    /// One for this principal: that of the cookie, so that another page of the same user goes on with the one that it has, or a new one.
    pub(super) async fn of(state: &ManageState, principal: &Principal, headers: &HeaderMap) -> Result<Self, Problem> {
        let (mac, now) = (mac(state, principal).await?, state.now());
        let given = cookie(headers).and_then(|text| Some((text, expiry(&mac, text)?)));
        Ok(match given.filter(|(_, end)| *end > now.after(LASTS / 2)) {
            Some((text, expires_at)) => Self {
                text: text.to_owned(),
                expires_at,
            },
            None => Self::new(&mac, now.after(LASTS)),
        })
    }

    fn new(mac: &Hmac<Sha256>, expires_at: Timestamp) -> Self {
        let end = expires_at.as_millis().to_be_bytes();
        // Of a fixed length, so that no other user and end are the same bytes.
        let tag = mac.clone().chain_update(end).finalize().into_bytes();
        let text = URL_SAFE_NO_PAD.encode([&end[..], &tag[..]].concat());
        Self { text, expires_at }
    }

    /// The header that sets its cookie.
    pub(super) fn cookie(&self) -> String {
        let (text, seconds) = (&self.text, LASTS.as_secs());
        format!("{NAME}={text}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict")
    }
}

/// Whether a change comes from a page of the service, or a client that asked for a token.
///
/// # Errors
/// 403 unless cookie and header have the same token, of this principal.
pub(super) async fn check(state: &ManageState, principal: &Principal, headers: &HeaderMap) -> Result<(), Problem> {
    let refused = || {
        let sentence = "the request needs the token of GET /csrf, in the header x-csrf-token and in its cookie";
        Problem::new(StatusCode::FORBIDDEN, "csrf", sentence)
    };
    let mut lines = headers.get_all("x-csrf-token").iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(refused());
    };
    let token = cookie(headers).ok_or_else(refused)?;
    let is_same = bool::from(line.as_bytes().ct_eq(token.as_bytes()));
    let expires_at = expiry(&mac(state, principal).await?, token);
    match is_same && expires_at.is_some_and(|end| state.now() < end) {
        true => Ok(()),
        false => Err(refused()),
    }
}

/// The MAC of tokens of this principal, which is to be ended with their expiry.
async fn mac(state: &ManageState, principal: &Principal) -> Result<Hmac<Sha256>, Problem> {
    let mac = state.keys.mac_of_realm(DOMAIN).await.map_err(IssueError::from)?;
    let (organization, user) = (principal.organization().as_uuid(), principal.user());
    Ok(mac.chain_update(organization.as_bytes()).chain_update(user.as_str()))
}

/// The end of a token, if it was made under this MAC.
fn expiry(mac: &Hmac<Sha256>, token: &str) -> Option<Timestamp> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (end, tag) = bytes.split_first_chunk::<8>()?;
    mac.clone().chain_update(end).verify_slice(tag).ok()?;
    Some(Timestamp::from_millis(i64::from_be_bytes(*end)))
}

/// The value of the cookie; `None` if there is none, or more than one.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.split_once('='));
    let mut values = pairs
        .filter(|(name, _)| name.trim() == NAME)
        .map(|(_, value)| value.trim());
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

const NAME: &str = "__Host-api-keys-csrf";
/// Begins differently from those of cursors and of requests that are made once.
const DOMAIN: &[u8] = b"ak-csrf-1";
const LASTS: Duration = Duration::from_secs(12 * 3600);
