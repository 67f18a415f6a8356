//! `multipart/form-data`, where the order of the fields and the exact headers of each part are part of the
//! protocol (wire/qwen.md section 4.4, wire/xinghuo.md section 4.3).

use bytes::Bytes;

/// A form under construction.
#[derive(Debug)]
pub struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    /// An empty form. `boundary` is random, so that no field's content can hold it.
    pub fn new(boundary: String) -> Self {
        Self {
            boundary,
            body: Vec::new(),
        }
    }

    /// Adds a text field.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.open(&format!(
            "Content-Disposition: form-data; name=\"{name}\"\r\n"
        ));
        self.close(value.as_bytes())
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, name: &str, file_name: &str, content_type: &str, content: &[u8]) -> Self {
        // A file name comes from a caller: nothing in it may end the header. Browsers encode these the same way.
        let file_name = file_name
            .replace('"', "%22")
            .replace('\r', "%0D")
            .replace('\n', "%0A");
        self.open(&format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\nContent-Type: {content_type}\r\n"));
        self.close(content)
    }

    /// The value of the `Content-Type` header.
    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// The finished body.
    pub fn finish(mut self) -> Bytes {
        self.body
            .extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        self.body.into()
    }

    fn open(&mut self, headers: &str) {
        self.body
            .extend_from_slice(format!("--{}\r\n{headers}\r\n", self.boundary).as_bytes());
    }

    fn close(mut self, content: &[u8]) -> Self {
        self.body.extend_from_slice(content);
        self.body.extend_from_slice(b"\r\n");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_fields_in_order_and_hostile_file_names_harmlessly() {
        let form = Form::new("B".to_owned()).text("fd", "1").file(
            "file",
            "a\"\r\nX: y",
            "image/png",
            b"\x89",
        );
        assert_eq!(form.content_type(), "multipart/form-data; boundary=B");
        let expected = b"--B\r\nContent-Disposition: form-data; name=\"fd\"\r\n\r\n1\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22%0D%0AX: y\"\r\nContent-Type: image/png\r\n\r\n\x89\r\n--B--\r\n";
        assert_eq!(form.finish(), expected.as_slice());
    }
}
