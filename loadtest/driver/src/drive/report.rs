//! The page with the curves: one file that needs nothing else.

use super::results::Results;

const PAGE: &str = include_str!("report.html");

/// The page, with the figures in it.
pub(super) fn page(results: &Results) -> serde_json::Result<String> {
    // In a script element only `</` could end it early.
    let data = serde_json::to_string(results)?.replace("</", "<\\/");
    Ok(PAGE.replace("/*DATA*/null", &data))
}
