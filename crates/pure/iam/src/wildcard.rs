//! `*` and `?` as policies use them (spec/policy.md §4).

/// A pattern, taken apart once. `*` is any run of characters, `?` is any one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern(Vec<Token>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token {
    Literal(char),
    One,
    Any,
}

impl Pattern {
    /// Reads a pattern in which `*` and `?` are wildcards.
    pub fn new(text: &str) -> Self {
        let mut pattern = Self(Vec::new());
        pattern.push_pattern(text);
        pattern
    }

    /// Nothing yet.
    pub(crate) const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Adds text in which `*` and `?` are wildcards.
    pub(crate) fn push_pattern(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '*' if self.0.last() == Some(&Token::Any) => {}
                '*' => self.0.push(Token::Any),
                '?' => self.0.push(Token::One),
                c => self.0.push(Token::Literal(c)),
            }
        }
    }

    /// Adds text that stands for itself: the value of a variable.
    pub(crate) fn push_literal(&mut self, text: &str) {
        self.0.extend(text.chars().map(Token::Literal));
    }

    /// Whether the whole text fits. Time is bounded by the product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut token) = (0, 0);
        // Where to go on if what follows the last `*` does not fit: one character further.
        let mut retry: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.0.get(token) {
                Some(Token::Any) => {
                    retry = Some((token + 1, at));
                    token += 1;
                    continue;
                }
                Some(Token::One) => {}
                Some(Token::Literal(c)) if *c == text[at] => {}
                _ => {
                    let Some((after, from)) = retry else { return false };
                    retry = Some((after, from + 1));
                    token = after;
                    at = from + 1;
                    continue;
                }
            }
            at += 1;
            token += 1;
        }
        self.0[token..].iter().all(|token| *token == Token::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_whole_texts() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*", "a", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*a*b", "aaaab", true),
            ("kms:*Key", "kms:DisableKey", true),
            ("kms:*Key", "kms:DisableKeys", false),
            ("?*", "", false),
            ("ä?", "äö", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_literal_star_is_only_a_star() {
        let mut pattern = Pattern::new("a/");
        pattern.push_literal("*");
        assert!(pattern.matches("a/*") && !pattern.matches("a/b"));
    }
}
