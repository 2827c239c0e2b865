//! Lists of any length.

use http::Method;
use serde_json::Value;

use super::Work;
use crate::failure::Failure;
use crate::text::encoded;

/// A list, page by page, so that one of any length takes the memory of a page.
pub(super) async fn pages(
    work: &Work,
    query: &str,
    most: usize,
    rows: impl Fn(&[Value]) -> String,
) -> Result<(), Failure> {
    let (mut shown, mut after) = (0, None::<String>);
    loop {
        let path = match &after {
            None => query.to_owned(),
            Some(cursor) => format!("{query}&after={}", encoded(cursor)),
        };
        let page = work.api.call(Method::GET, &path, Value::Null).await?;
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let items = items.get(..items.len().min(most - shown)).unwrap_or_default();
        match work.output.json {
            true => items.iter().try_for_each(|item| work.output.json(item))?,
            false if items.is_empty() => {}
            false => work.output.lines(&rows(items))?,
        }
        shown += items.len();
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() || shown == most {
            return Ok(());
        }
    }
}
