//! What Azure says when it refuses.

use reqwest::Response;
use serde::Deserialize;
use serde_json::Value;

/// What Azure says of a refusal: its code and sentence.
pub async fn refusal(response: Response) -> String {
    #[derive(Deserialize)]
    struct Detail {
        code: Option<String>,
        message: Option<String>,
    }
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    // The resource manager wraps its errors, the DNS does not, and the login has words of its own (RFC 6749 section 5.2).
    let detail: Option<Detail> = [body.get("error"), Some(&body)]
        .into_iter()
        .flatten()
        .find_map(|value| Detail::deserialize(value).ok().filter(|detail| detail.code.is_some()));
    let said = match detail {
        Some(detail) => (detail.code, detail.message),
        None => {
            let word = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
            (word("error"), word("error_description"))
        }
    };
    let line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    match said {
        (Some(code), Some(message)) => format!("{code}: {}", line(message)),
        (Some(code), None) => code,
        _ => format!("HTTP {status}"),
    }
}
