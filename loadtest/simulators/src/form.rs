//! A strict reader of `multipart/form-data` (RFC 7578): delimiters on lines of their own, CRLF everywhere, an end.

use bytes::Bytes;

/// One field of a form, in the order in which it was sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) filename: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) data: Bytes,
}

impl Part {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

/// Reads the parts, or says what is wrong with the form.
pub(super) fn read(content_type: &str, body: &Bytes) -> Result<Vec<Part>, String> {
    let boundary = boundary(content_type)?;
    let opening = format!("--{boundary}\r\n");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body
        .strip_prefix(opening.as_bytes())
        .ok_or("the form does not start with its boundary")?;
    let mut parts = Vec::new();
    loop {
        let head_end =
            find(rest, b"\r\n\r\n").ok_or("a form part has no blank line after its headers")?;
        let (head, data) = rest.split_at(head_end);
        let data = data.get(4..).unwrap_or_default();
        let data_end =
            find(data, delimiter.as_bytes()).ok_or("a form part has no boundary after it")?;
        let (data, tail) = data.split_at(data_end);
        parts.push(part(head, body.slice_ref(data))?);
        let tail = tail.get(delimiter.len()..).unwrap_or_default();
        match tail {
            b"--" | b"--\r\n" => return Ok(parts),
            _ => {
                rest = tail
                    .strip_prefix(b"\r\n")
                    .ok_or("a form boundary is not followed by CRLF or --")?
            }
        }
    }
}

fn boundary(content_type: &str) -> Result<String, String> {
    let mut pieces = content_type.split(';').map(str::trim);
    if pieces.next() != Some("multipart/form-data") {
        return Err(format!(
            "Content-Type is {content_type:?}, not multipart/form-data"
        ));
    }
    pieces
        .find_map(|piece| piece.strip_prefix("boundary="))
        .map(|boundary| boundary.trim_matches('"').to_owned())
        .filter(|boundary| (1..=70).contains(&boundary.len()))
        .ok_or_else(|| "multipart/form-data without a boundary".to_owned())
}

fn part(head: &[u8], data: Bytes) -> Result<Part, String> {
    let head = std::str::from_utf8(head).map_err(|_| "the headers of a form part are not UTF-8")?;
    let mut part = Part {
        name: String::new(),
        filename: None,
        content_type: None,
        data,
    };
    for line in head.split("\r\n") {
        let (key, value) = line
            .split_once(':')
            .ok_or_else(|| format!("form part header {line:?} has no colon"))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "content-disposition" => disposition(value.trim(), &mut part)?,
            "content-type" => part.content_type = Some(value.trim().to_owned()),
            other => return Err(format!("form part with the unexpected header {other:?}")),
        }
    }
    if part.name.is_empty() {
        return Err("a form part has no name".to_owned());
    }
    Ok(part)
}

fn disposition(value: &str, part: &mut Part) -> Result<(), String> {
    let rest = value
        .strip_prefix("form-data")
        .ok_or_else(|| format!("Content-Disposition {value:?} is not form-data"))?;
    for (key, value) in parameters(rest)? {
        match key.as_str() {
            "name" => part.name = value,
            "filename" => part.filename = Some(value),
            // RFC 7578 §4.2 forbids it; browsers do not send it.
            _ => {
                return Err(format!(
                    "Content-Disposition with the unexpected parameter {key:?}"
                ));
            }
        }
    }
    Ok(())
}

/// Reads `; name="a"; filename="b"`. Browsers write `"` inside a value as `%22`.
fn parameters(mut rest: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    while let Some(next) = rest.trim_start().strip_prefix(';') {
        let (key, value) = next
            .split_once("=\"")
            .ok_or("a form parameter is not quoted")?;
        let (value, after) = value
            .split_once('"')
            .ok_or("a quoted form parameter has no end")?;
        found.push((key.trim().to_owned(), value.replace("%22", "\"")));
        rest = after;
    }
    if rest.trim().is_empty() {
        Ok(found)
    } else {
        Err(format!("unreadable Content-Disposition near {rest:?}"))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    fn read(body: &'static str) -> Result<Vec<Part>, String> {
        super::read(TYPE, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn reads_fields_in_order() {
        let parts = read(
            "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--XX\r\nContent-Disposition: form-data; \
             name=\"f\"; filename=\"x%22.png\"\r\nContent-Type: image/png\r\n\r\n\r\n--XX--\r\n",
        )
        .unwrap();
        assert_eq!(parts[0].text(), "1\r\n2");
        assert_eq!(parts[1].filename.as_deref(), Some("x\".png"));
        assert_eq!(parts[1].content_type.as_deref(), Some("image/png"));
        assert!(parts[1].data.is_empty());
    }

    #[test]
    fn refuses_what_is_not_a_form() {
        let urlencoded = super::read(
            "application/x-www-form-urlencoded",
            &Bytes::from_static(b"a=1"),
        );
        assert!(urlencoded.unwrap_err().contains("not multipart/form-data"));
        assert!(
            super::read("multipart/form-data", &Bytes::new())
                .unwrap_err()
                .contains("without a boundary")
        );
        assert!(
            read("a=1")
                .unwrap_err()
                .contains("does not start with its boundary")
        );
        assert!(read("--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1").is_err());
        assert!(read("--XX\nContent-Disposition: form-data; name=\"a\"\n\n1\n--XX--\n").is_err());
        assert!(
            read("--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--XX--\r\n").is_err()
        );
        assert!(read("--XX\r\nContent-Disposition: form-data\r\n\r\n1\r\n--XX--\r\n").is_err());
    }
}
