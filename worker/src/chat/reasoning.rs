//! The forms in which thinking may reach a client besides `reasoning_content`: woven into the answer text.
//! Source: design.md section 3; the inline form as in wire/deepseek.md section 6 and wire/zhipu.md section 6.

/// How thinking is marked within the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    /// Before the first piece of a round of thinking.
    pub open: &'static str,
    /// After its last piece.
    pub close: &'static str,
}

/// `<think>…</think>`, as reasoning models write it themselves.
pub const THINK_TAGS: Tags = Tags {
    open: "<think>\n",
    close: "\n</think>\n\n",
};
/// `<think:…>`, as hot-apis writes it.
pub const INLINE: Tags = Tags {
    open: "<think:",
    close: ">",
};

/// Weaves thinking into the text of one answer.
#[derive(Debug)]
pub struct Weaver {
    tags: Tags,
    is_open: bool,
}

impl Weaver {
    /// A weaver for one answer.
    pub fn new(tags: Tags) -> Self {
        Self {
            tags,
            is_open: false,
        }
    }

    /// A piece of thinking as text.
    pub fn reasoning(&mut self, piece: &str) -> String {
        let open = if self.is_open { "" } else { self.tags.open };
        self.is_open = true;
        // Told with the first piece and not before: an answer without thinking has no tags.
        format!("{open}{piece}")
    }

    /// What must be written before anything else than thinking; empty when no round is open.
    pub fn close(&mut self) -> &'static str {
        // Taken, so that closing twice writes one tag.
        if std::mem::take(&mut self.is_open) {
            self.tags.close
        } else {
            ""
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_is_marked_once() {
        let mut weaver = Weaver::new(INLINE);
        let mut text = String::new();
        for (thinking, answer) in [(["a", "b"], "X"), (["c", "d"], "Y")] {
            for piece in thinking {
                text.push_str(&weaver.reasoning(piece));
            }
            text.push_str(weaver.close());
            text.push_str(weaver.close());
            text.push_str(answer);
        }
        assert_eq!(text, "<think:ab>X<think:cd>Y");
    }
}
