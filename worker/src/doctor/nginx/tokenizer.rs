//! The text of an nginx file as directives and blocks. nginx's own grammar is words, `;`, `{` and `}`; what the
//! directives mean is not known here. A word `@LIKE_THIS@` that stands for a whole directive needs no `;`: such
//! files are templates.

use std::{iter::Peekable, str::Chars, sync::Arc};

use crate::doctor::finding::Location;

/// Nobody nests deeper, and what reads the tree goes down step by step.
const MOST_LEVELS: usize = 64;

/// `name args;` or `name args { block }`.
#[derive(Clone, Debug)]
pub(crate) struct Directive {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    pub(crate) place: Location,
    pub(crate) block: Option<Vec<Self>>,
}

impl Directive {
    /// The first argument, empty when there is none.
    pub(crate) fn value(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    /// What stands between its braces.
    pub(crate) fn inside(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Where the text stops making sense, and what is wrong there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: usize,
    pub(crate) what: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    End,
    Open,
    Close,
}

/// Whether a word is filled in when a template is rendered.
pub(crate) fn is_template(word: &str) -> bool {
    let upper = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let between_ats = word.split('@').skip(1).step_by(2).any(upper);
    let braced = word.split("${").skip(1).any(|rest| {
        rest.split_once('}')
            .is_some_and(|(name, _)| upper(name.split([':', '-']).next().unwrap_or(name)))
    });
    (between_ats && word.matches('@').count() > 1) || braced
}

/// Reads a file.
pub(crate) fn parse(file: &Arc<str>, text: &str) -> Result<Vec<Directive>, SyntaxError> {
    let mut reader = Reader {
        chars: text.chars().peekable(),
        line: 1,
    };
    let mut levels: Vec<(Option<Directive>, Vec<Directive>)> = vec![(None, Vec::new())];
    let mut words: Vec<String> = Vec::new();
    let mut begin = 1;
    while let Some((token, line)) = reader.token()? {
        if words.is_empty() {
            begin = line;
        }
        let is_open = token == Token::Open;
        match token {
            Token::Word(word) => {
                let is_whole = words.is_empty() && is_template(&word) && !reader.goes_on();
                words.push(word);
                if !is_whole {
                    continue;
                }
            }
            Token::Close => {
                let (owner, inside) = levels.pop().unwrap_or_default();
                let (Some(mut owner), true) = (owner, words.is_empty()) else {
                    let what = "a `}` without its `{`, or a missing `;` before it";
                    return Err(SyntaxError { line, what });
                };
                owner.block = Some(inside);
                push(&mut levels, owner);
                continue;
            }
            Token::End | Token::Open => {}
        }
        let mut words = std::mem::take(&mut words).into_iter();
        let Some(name) = words.next() else {
            let what = "a `;` or `{` without a directive before it";
            return Err(SyntaxError { line, what });
        };
        let directive = Directive {
            name,
            args: words.collect(),
            place: Location::new(file, begin),
            block: None,
        };
        if !is_open {
            push(&mut levels, directive);
        } else if directive.name.ends_with("_by_lua_block") {
            reader.skip_block();
        } else if levels.len() > MOST_LEVELS {
            let what = "blocks are nested too deeply";
            return Err(SyntaxError { line, what });
        } else {
            levels.push((Some(directive), Vec::new()));
        }
    }
    match (levels.pop(), levels.is_empty(), words.is_empty()) {
        (Some((None, directives)), true, true) => Ok(directives),
        (Some((Some(open), _)), _, true) => Err(SyntaxError {
            line: open.place.line,
            what: "the `{` of this block is never closed",
        }),
        _ => Err(SyntaxError {
            line: begin,
            what: "this directive has no `;`",
        }),
    }
}

fn push(levels: &mut [(Option<Directive>, Vec<Directive>)], directive: Directive) {
    if let Some((_, inside)) = levels.last_mut() {
        inside.push(directive);
    }
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn take(&mut self) -> Option<char> {
        let next = self.chars.next();
        if next == Some('\n') {
            self.line += 1;
        }
        next
    }

    /// The next token and the line where it begins.
    fn token(&mut self) -> Result<Option<(Token, usize)>, SyntaxError> {
        while let Some(&c) = self.chars.peek() {
            let line = self.line;
            match c {
                c if c.is_whitespace() || c == '\u{feff}' => {
                    self.take();
                }
                '#' => while self.take().is_some_and(|c| c != '\n') {},
                ';' | '{' | '}' => {
                    self.take();
                    let token = match c {
                        ';' => Token::End,
                        '{' => Token::Open,
                        _ => Token::Close,
                    };
                    return Ok(Some((token, line)));
                }
                '"' | '\'' => return self.quoted(c).map(|word| Some((Token::Word(word), line))),
                _ => return Ok(Some((Token::Word(self.bare()), line))),
            }
        }
        Ok(None)
    }

    fn quoted(&mut self, quote: char) -> Result<String, SyntaxError> {
        let line = self.line;
        let mut word = String::new();
        self.take();
        while let Some(c) = self.take() {
            match c {
                c if c == quote => return Ok(word),
                '\\' => match self.take() {
                    Some(next) if next == quote || next == '\\' => word.push(next),
                    Some(next) => word.extend(['\\', next]),
                    None => break,
                },
                c => word.push(c),
            }
        }
        let what = "a quote is never closed";
        Err(SyntaxError { line, what })
    }

    fn bare(&mut self) -> String {
        let mut word = String::new();
        while let Some(&c) = self.chars.peek() {
            let is_braced_name = c == '{' && word.ends_with('$');
            if is_braced_name {
                while let Some(c) = self.take() {
                    word.push(c);
                    if c == '}' {
                        break;
                    }
                }
                continue;
            }
            if c.is_whitespace() || matches!(c, ';' | '{' | '}') {
                break;
            }
            word.extend(self.take());
        }
        word
    }

    /// Whether more of the directive stands on this line.
    fn goes_on(&self) -> bool {
        let rest = self.chars.clone().take_while(|c| *c != '\n');
        let mut visible = rest.skip_while(|c| c.is_whitespace());
        visible.next().is_some_and(|c| c != '#')
    }

    /// Over a block that is no nginx inside (Lua), counting braces.
    fn skip_block(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            match self.take() {
                Some('{') => depth += 1,
                Some('}') => depth -= 1,
                Some(_) => {}
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Result<String, SyntaxError> {
        fn show(directives: &[Directive]) -> String {
            let one = |d: &Directive| match &d.block {
                Some(block) => format!("{}{:?}{{{}}}", d.name, d.args, show(block)),
                None => format!("{}:{}{:?}", d.place.line, d.name, d.args),
            };
            directives.iter().map(one).collect::<Vec<_>>().join(" ")
        }
        parse(&"f".into(), text).map(|directives| show(&directives))
    }

    #[test]
    fn reads_words_quotes_comments_and_blocks() {
        assert_eq!(
            shape("a b 'c;{' \"d\\\"e\"; # x;\nhttp {\n map $a $b { default \"~^[^ ]{1,2}\"; }\n}")
                .unwrap(),
            r#"1:a["b", "c;{", "d\"e"] http[]{map["$a", "$b"]{3:default["~^[^ ]{1,2}"]}}"#
        );
        assert_eq!(shape("set $a ${b}c;\n").unwrap(), r#"1:set["$a", "${b}c"]"#);
    }

    #[test]
    fn a_template_word_may_stand_for_a_directive() {
        assert_eq!(
            shape("@USER@\ndaemon off;\nlisten @LISTEN@ default_server;").unwrap(),
            r#"1:@USER@[] 2:daemon["off"] 3:listen["@LISTEN@", "default_server"]"#
        );
        assert!(is_template("@A_1@") && is_template("${BODY_SIZE}") && is_template("x${A:-1}m"));
        assert!(!is_template("a@b") && !is_template("${host}") && !is_template("$A"));
    }

    #[test]
    fn lua_inside_is_passed_over() {
        let text = "a_by_lua_block { if x then y = {1} end }\nb c;";
        assert_eq!(shape(text).unwrap(), r#"2:b["c"]"#);
    }

    #[test]
    fn says_where_the_text_breaks() {
        for (text, line) in [
            ("a;\nb {\nc;", 2),
            ("a;\n}", 2),
            ("a;\n\nb 'c", 3),
            ("a;\nb c", 2),
            ("a {\nb\n}", 3),
            (";", 1),
            (
                &format!("{}{}", "a {".repeat(100_000), "}".repeat(100_000)),
                1,
            ),
        ] {
            assert_eq!(shape(text).unwrap_err().line, line, "{text:?}");
        }
    }

    #[test]
    fn no_text_panics() {
        let whole = "http { a 'b' \"c\" ${d} @E@ # f\n x_by_lua_block { } ; }";
        for at in 0..whole.len() {
            let _ = shape(whole.get(..at).unwrap());
            let _ = shape(whole.get(at..).unwrap());
        }
    }
}
