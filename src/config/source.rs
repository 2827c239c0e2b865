//! One of `[[sources]]`: where clients put their key.

use super::error::Fault;
use super::setting::Setting;
use super::value::{Section, Value};
use crate::middleware::layer::ApiKeyLayer;
use crate::middleware::source::KeySource;
use crate::store::KeyStore;

type Basic = fn() -> KeySource;

const BASIC: [(&str, Basic); 2] = [("user-name", KeySource::basic), ("password", KeySource::basic_password)];

pub(super) fn read(mut section: Section<'_, '_>) -> Result<Setting<KeySource>, Fault> {
    let text = |value: &Value<'_, '_>| Ok(value.text()?.to_owned());
    let authorization = section.setting("authorization", text)?;
    let header = section.setting("header", text)?;
    let basic = section.setting("basic", |value| value.choice(&BASIC))?;
    let parameter = section.setting("dangerous_query_parameter", text)?;
    let protocol = section.setting("websocket_protocol", text)?;
    let leave_others = section.setting("leave_others", Value::is_true)?;
    let together = section.setting("together", Value::is_true)?;
    let challenge = section.setting("challenge", Value::is_true)?;
    section.end()?;
    let is_basic = basic.is_some();
    let made = [
        authorization.map(|setting| setting.try_map(|scheme| KeySource::authorization(&scheme))),
        header.map(|setting| setting.try_map(|name| KeySource::header(&name))),
        basic.map(|setting| setting.try_map(|source| Ok(source()))),
        parameter.map(|setting| setting.try_map(|name| KeySource::dangerous_query_parameter(&name))),
        protocol.map(|setting| setting.try_map(|marker| KeySource::websocket_protocol(&marker))),
    ];
    let mut made = made.into_iter().flatten();
    let (Some(source), None) = (made.next(), made.next()) else {
        let problem = "needs one of `authorization`, `header`, `basic`, `dangerous_query_parameter` and `websocket_protocol`: write \
                       a section `[[sources]]` for each";
        return Err(section.fault(problem));
    };
    let mut source = source?;
    if let Some(Setting { value: true, .. }) = leave_others {
        source = source.map(KeySource::leave_others);
    }
    match &together {
        Some(together) if leave_others.as_ref().is_some_and(|leave| !leave.value) && together.value => {
            return Err(together.fault("must not be beside `leave_others = false`: it leaves other values"));
        }
        Some(Setting { value: true, .. }) => source = source.map(KeySource::together),
        _ => {}
    }
    match challenge {
        Some(challenge) if !is_basic => {
            Err(challenge.fault("is for `basic` alone: other schemes are challenged anyway"))
        }
        Some(Setting { value: true, .. }) => Ok(source.map(KeySource::challenge)),
        _ => Ok(source),
    }
}

/// The layer with these sources, or as it is if there are none.
pub(super) fn apply_all<S: KeyStore>(
    sources: &[Setting<KeySource>],
    layer: ApiKeyLayer<S>,
) -> Result<ApiKeyLayer<S>, Fault> {
    let Some(last) = sources.last() else { return Ok(layer) };
    let listed = sources.iter().map(|setting| setting.value.clone());
    layer.sources(listed).map_err(|error| last.refused(error))
}
