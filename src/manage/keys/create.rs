//! New keys.

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, LOCATION};
use http::request::Parts;
use utoipa::IntoParams;

use super::change::answer;
use super::shown;
use crate::issue::OnceIssued;
use crate::key::IdempotencyKey;
use crate::manage::acting::Acting;
use crate::manage::body::Json;
use crate::manage::manage::ManageState;
use crate::manage::precondition::etag;
use crate::manage::problem::Problem;
use crate::manage::scopes::WRITE_KEYS;
use crate::manage::wire::key::{CreateKey, IssuedKey, Key};
use crate::manage::wire::problem::Problems;

/// Creates a key.
#[utoipa::path(
    post, path = "/keys", tag = "keys", operation_id = "create_key",
    params(IdempotencyHeader),
    request_body = CreateKey,
    description = "Creates a key. It is in the answer, once. With an Idempotency-Key, a request that is repeated within 24 hours makes no second \
                   key: the answer is a 200 with the record of the first one, without the key. Scope `api-keys.keys:write`; nothing is granted that the caller does not have.",
    responses(
        (status = 200, body = Key, description = "The same request has made this key before."),
        (status = 201, body = IssuedKey, headers(
            ("Location" = String, description = "The path of the key, relative to this one."),
            ("ETag" = String, description = "The revision, for If-Match."),
        )),
        Problems,
    ),
)]
pub(in crate::manage) async fn create(
    acting: Acting,
    State(state): State<ManageState>,
    Once(once): Once,
    Json(body): Json<CreateKey>,
) -> Result<Response, Problem> {
    acting.require(WRITE_KEYS)?;
    let organization = body.organization_id.or(acting.organization());
    let organization = organization.ok_or_else(|| Problem::invalid("organization_id", "organization_id is missing"))?;
    let request = body.request(organization)?;
    let Some(key) = once else {
        let issued = acting.issuer.issue(request).await?;
        let answer = issued_answer(&acting, &state, StatusCode::CREATED, &issued).await?;
        return Ok(answer.into_response());
    };
    match acting.issuer.issue_once(request, &key).await? {
        OnceIssued::Made(issued) => {
            let answer = issued_answer(&acting, &state, StatusCode::CREATED, &issued).await?;
            Ok(answer.into_response())
        }
        // Whose answer was lost. The key was in it, and is nowhere else.
        OnceIssued::MadeBefore(record) => Ok(answer(&acting, &state, record.id).await?.into_response()),
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes what is read elsewhere")]
struct IdempotencyHeader {
    /// What repetitions of a request have in common, such as a UUID that is made for it.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// The header `Idempotency-Key`: as the IETF's draft has it, a string in quotes; without them, as most clients send it.
pub(in crate::manage) struct Once(Option<IdempotencyKey>);

impl<S: Sync> FromRequestParts<S> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let wrong = |sentence: &str| Problem::new(StatusCode::BAD_REQUEST, "malformed-header", sentence);
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        if values.next().is_some() {
            return Err(wrong("there must be one Idempotency-Key"));
        }
        let text = value
            .to_str()
            .map_err(|_| wrong("the Idempotency-Key must be visible ASCII"))?;
        let text = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .unwrap_or(text);
        match text.parse() {
            Ok(key) => Ok(Self(Some(key))),
            Err(_) => Err(wrong(
                "the Idempotency-Key must be 1 to 255 characters of visible ASCII",
            )),
        }
    }
}

/// The answer with a new secret.
pub(super) async fn issued_answer(
    acting: &Acting,
    state: &ManageState,
    status: StatusCode,
    issued: &crate::issue::IssuedKey,
) -> Result<impl IntoResponse + use<>, Problem> {
    let id = issued.record.id;
    // It may be changed in between, or be deleted: the secret is in the answer all the same.
    let stored = match acting.issuer.key(id).await {
        Ok(Some(stored)) => stored,
        _ => crate::store::StoredKey::new(issued.record.clone(), Vec::new()),
    };
    let record = match shown(acting, state, stored.clone()).await {
        Ok(record) => record,
        Err(_) => Key::new(stored, None, state.now()),
    };
    let body = IssuedKey::new(issued, record);
    let headers = [
        (LOCATION, format!("keys/{}", body.record().id())),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((status, headers, etag(body.record().revision()), axum::Json(body)))
}
