//! Lists of any length.

use http::Method;
use serde_json::Value;

use crate::api::items;
use crate::failure::Failure;
use crate::text::encoded;
use crate::work::Work;

/// A list, page by page, so that one of any length takes the memory of a page. `what` are its rows, for a list without any.
pub(super) async fn pages(
    work: &Work,
    query: &str,
    most: usize,
    what: &str,
    rows: impl Fn(&[Value]) -> String,
) -> Result<(), Failure> {
    let (mut shown, mut after) = (0, None::<String>);
    loop {
        let path = match &after {
            None => query.to_owned(),
            Some(cursor) => format!("{query}&after={}", encoded(cursor)),
        };
        let page = work.api.call(Method::GET, &path, Value::Null).await?;
        let items = items(&page)?;
        let items = items.get(..items.len().min(most - shown)).unwrap_or_default();
        match work.output.json {
            true => items.iter().try_for_each(|item| work.output.json(item))?,
            false if items.is_empty() => {}
            false => work.output.lines(&rows(items))?,
        }
        shown += items.len();
        let next = page["next"].as_str().map(str::to_owned);
        if next.is_none() && shown == 0 && most > 0 {
            return work.output.note(&format!("No {what}."));
        }
        if next.is_none() || shown == most {
            return Ok(());
        }
        if next == after {
            return Err(Failure::Unavailable(
                "the server sends the same page again and again".to_owned(),
            ));
        }
        after = next;
    }
}
