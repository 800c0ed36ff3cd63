//! Where in a document something stands.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::document::{Format, yaml_options};

/// The line of each key of a document, such as `rule[1].peers[0]`.
#[derive(Debug, Default)]
pub(super) struct Places {
    lines: HashMap<String, usize>,
    /// Of TOML alone: where each value begins and ends, inner ones first.
    spans: Vec<(std::ops::Range<usize>, String)>,
}

impl Places {
    /// Of a text that may be broken: then it has no keys.
    pub(super) fn of(text: &str, format: Format) -> Self {
        let mut places = Self::default();
        match format {
            Format::Toml => {
                if let Ok(table) = DeTable::parse(text) {
                    places.add_table(&line_ends(text), table.as_ref(), "");
                }
            }
            Format::Yaml => {
                if let Ok(node) = serde_saphyr::from_str_with_options::<YamlNode>(text, yaml_options(text)) {
                    places.add_node(&node, "");
                }
            }
        }
        places
    }

    /// The line of a key, or of the nearest one around it.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }

    /// The innermost key that stands at an offset, or whose value does. Empty if there is none.
    pub(super) fn key_at(&self, offset: usize) -> String {
        let found = self.spans.iter().find(|(span, _)| span.contains(&offset));
        found.map(|(_, key)| key.clone()).unwrap_or_default()
    }

    /// The line of an offset, counted from 1.
    pub(super) fn line_of(text: &str, offset: usize) -> usize {
        1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    fn add_table(&mut self, ends: &[usize], table: &DeTable<'_>, path: &str) {
        let dot = if path.is_empty() { "" } else { "." };
        for (key, value) in table {
            let path = format!("{path}{dot}{}", key.as_ref());
            self.add_value(ends, value, &path);
            self.spans.push((key.span(), path));
        }
    }

    fn add_value(&mut self, ends: &[usize], value: &Spanned<DeValue<'_>>, path: &str) {
        self.lines.insert(path.to_owned(), 1 + ends.partition_point(|end| *end < value.span().start));
        match value.as_ref() {
            DeValue::Table(table) => self.add_table(ends, table, path),
            DeValue::Array(array) => {
                for (number, value) in array.iter().enumerate() {
                    self.add_value(ends, value, &format!("{path}[{number}]"));
                }
            }
            _ => (),
        }
        self.spans.push((value.span(), path.to_owned()));
    }

    fn add_node(&mut self, node: &YamlNode, path: &str) {
        let dot = if path.is_empty() { "" } else { "." };
        let children: Vec<(String, &serde_saphyr::Spanned<YamlNode>)> = match node {
            YamlNode::Scalar => Vec::new(),
            YamlNode::Map(map) => map.iter().map(|(key, it)| (format!("{path}{dot}{key}"), it)).collect(),
            YamlNode::List(list) => {
                list.iter().enumerate().map(|(number, it)| (format!("{path}[{number}]"), it)).collect()
            }
        };
        for (path, child) in children {
            if let Ok(line) = usize::try_from(child.referenced.line()) {
                self.lines.insert(path.clone(), line);
            }
            self.add_node(&child.value, &path);
        }
    }
}

/// Where each line ends: counting them anew for each key of a large document would take too long.
fn line_ends(text: &str) -> Vec<usize> {
    text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect()
}

/// Any YAML, of which only the places matter.
enum YamlNode {
    Scalar,
    Map(Vec<(String, serde_saphyr::Spanned<Self>)>),
    List(Vec<serde_saphyr::Spanned<Self>>),
}

impl<'de> Deserialize<'de> for YamlNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = YamlNode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<YamlNode, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(YamlNode::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<YamlNode, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
        }
        Ok(YamlNode::List(entries))
    }

    fn visit_str<E>(self, _: &str) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar)
    }

    fn visit_bool<E>(self, _: bool) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar)
    }

    fn visit_unit<E>(self) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar)
    }

    fn visit_none<E>(self) -> Result<YamlNode, E> {
        Ok(YamlNode::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<YamlNode, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| YamlNode::Scalar)
    }
}
