//! New keys.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, LOCATION};

use super::{changed, shown};
use crate::issue::OnceIssued;
use crate::manage::acting::Acting;
use crate::manage::body::Json;
use crate::manage::once::{IdempotencyHeader, Once};
use crate::manage::organization::one;
use crate::manage::precondition::etag;
use crate::manage::problem::Problem;
use crate::manage::row::Revised;
use crate::manage::scopes::WRITE_KEYS;
use crate::manage::state::ManageState;
use crate::manage::wire::key::{CreateKey, IssuedKey, Key};

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
    ),
)]
pub(in crate::manage) async fn create(
    acting: Acting,
    State(state): State<ManageState>,
    once: Once,
    body: Json<CreateKey>,
) -> Result<Response, Problem> {
    acting.require(WRITE_KEYS)?;
    let (body, once) = (body.get()?, once.get()?);
    let organization = one(&acting, body.organization_id, "organization_id").await?;
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
        OnceIssued::MadeBefore(record) => Ok(changed(&acting, &state, record.id).await?.into_response()),
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
