//! Texts of a policy with variables in them: `${aws:username}`, `${key, 'default'}`, `${*}` (spec/policy.md
//! §5).

use crate::{document::Malformed, request::Context, wildcard::Pattern};

/// A text, with its variables found once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    /// Wildcards in it count where patterns are wanted.
    Text(String),
    /// `${*}`, `${?}`, `${$}`: the character itself.
    Literal(char),
    Variable {
        key: String,
        default: Option<String>,
    },
}

impl Template {
    /// Reads a text; without `variables` (policies of version 2008-10-17) everything stands for itself.
    pub(crate) fn parse(text: &str, variables: bool) -> Result<Self, Malformed> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${").filter(|_| variables) {
            let (before, from) = rest.split_at(start);
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let end = from.find('}').ok_or(Malformed::Syntax)?;
            parts.push(variable(&from[2..end])?);
            rest = &from[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self(parts))
    }

    /// Whether every variable has a value or a default. A statement with one that has neither matches
    /// nothing.
    pub(crate) fn resolves(&self, context: &Context) -> bool {
        self.0.iter().all(|part| match part {
            Part::Variable { key, default } => value(key, default.as_ref(), context).is_some(),
            Part::Text(_) | Part::Literal(_) => true,
        })
    }

    /// The keys that stand in it as variables, in lower case.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable { key, .. } => Some(key.as_str()),
            Part::Text(_) | Part::Literal(_) => None,
        })
    }

    /// The text with its variables filled in; `None` if one has no value.
    pub(crate) fn fill(&self, context: &Context) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Literal(c) => text.push(*c),
                Part::Variable { key, default } => text.push_str(value(key, default.as_ref(), context)?),
            }
        }
        Some(text)
    }

    /// The same as a pattern; values of variables stand for themselves.
    pub(crate) fn pattern(&self, context: &Context) -> Option<Pattern> {
        let mut pattern = Pattern::empty();
        for part in &self.0 {
            match part {
                Part::Text(plain) => pattern.push_pattern(plain),
                Part::Literal(c) => pattern.push_literal(c.encode_utf8(&mut [0; 4])),
                Part::Variable { key, default } => {
                    pattern.push_literal(value(key, default.as_ref(), context)?)
                }
            }
        }
        Some(pattern)
    }

    /// Whether an ARN fits part by part; wildcards do not cross the first five colons.
    pub(crate) fn matches_arn(&self, arn: &str, context: &Context) -> bool {
        if let [Part::Text(text)] = self.0.as_slice()
            && text == "*"
        {
            return true;
        }
        let mut parts = vec![Pattern::empty()];
        for part in &self.0 {
            match part {
                Part::Text(plain) => {
                    for (index, piece) in plain.split(':').enumerate() {
                        if index > 0 && parts.len() < 6 {
                            parts.push(Pattern::empty());
                        } else if index > 0 {
                            push(&mut parts, |p| p.push_literal(":"));
                        }
                        push(&mut parts, |p| p.push_pattern(piece));
                    }
                }
                Part::Literal(c) => push(&mut parts, |p| p.push_literal(c.encode_utf8(&mut [0; 4]))),
                Part::Variable { key, default } => {
                    let Some(value) = value(key, default.as_ref(), context) else { return false };
                    push(&mut parts, |p| p.push_literal(value));
                }
            }
        }
        let sent: Vec<&str> = arn.splitn(6, ':').collect();
        sent.len() == 6
            && parts.len() == 6
            && parts.iter().zip(sent).all(|(pattern, text)| pattern.matches(text))
    }
}

fn push(parts: &mut [Pattern], add: impl FnOnce(&mut Pattern)) {
    if let Some(last) = parts.last_mut() {
        add(last);
    }
}

fn variable(inside: &str) -> Result<Part, Malformed> {
    if let "*" | "?" | "$" = inside {
        return Ok(Part::Literal(inside.chars().next().unwrap_or_default()));
    }
    let (key, default) =
        inside.split_once(',').map_or((inside, None), |(key, rest)| (key, Some(rest.trim())));
    let default = match default {
        None => None,
        Some(quoted) => {
            let text = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            Some(text.ok_or(Malformed::Syntax)?.to_owned())
        }
    };
    let key = key.trim().to_ascii_lowercase();
    if key.is_empty() { Err(Malformed::Syntax) } else { Ok(Part::Variable { key, default }) }
}

/// Keys with several values are no variables.
fn value<'a>(key: &str, default: Option<&'a String>, context: &'a Context) -> Option<&'a str> {
    match context.values(key) {
        Some([value]) => Some(value),
        _ => default.map(String::as_str),
    }
}
