//! Text → tree, through the event parser under serde-saphyr. The one file that names it.
//!
//! Bounds, because the text may come from anyone: [`MAX_BYTES`] of text, [`MAX_DEPTH`] levels, and [`MAX_COPIES`]
//! nodes made by aliases and merges. Work is linear in the text plus the copies.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StructureStyle, Tag, options};

use super::{Entry, Issue, List, Map, Node, Parsed, Scalar, Value};
use crate::problem::{Cause, Span};

/// More text than any loko.yaml has: ten thousand workloads take about three.
pub(crate) const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Levels of nesting.
pub(crate) const MAX_DEPTH: usize = 64;
/// Nodes that aliases and merges may add ("billion laughs").
pub(crate) const MAX_COPIES: usize = 100_000;
/// Nodes that anchors may keep for aliases: an anchor within an anchor keeps its nodes twice.
const MAX_ANCHORED: usize = 1_000_000;

/// Reads the first document of `text`.
pub(crate) fn parse(text: &str) -> Parsed {
    let mut builder = Builder::default();
    if text.len() > MAX_BYTES {
        builder.issue(
            Span::new(0, 0),
            Cause::TooLarge {
                bytes: text.len(),
                max: MAX_BYTES,
            },
        );
        return builder.finish();
    }
    let options = options! { emit_comments: false, emit_unresolved_aliases: true };
    for next in Parser::new_from_str_with_options(text, options) {
        let flow = match next {
            Ok((event, span)) => builder.event(text, event, span.byte_range().map_or_else(Span::default, Span::from)),
            Err(error) => {
                builder.scan_error(text, &error);
                Flow::Stop
            }
        };
        if matches!(flow, Flow::Stop) {
            break;
        }
    }
    builder.finish()
}

enum Flow {
    Go,
    Stop,
}

enum Frame {
    List { at: Open, list: List },
    Map { at: Open, map: Map, key: Option<Key> },
}

/// Where a collection starts, where its last child so far ends (an alias ends where it is written, not where its
/// anchor is), and its anchor.
#[derive(Clone, Copy)]
struct Open {
    start: usize,
    end: usize,
    anchor: usize,
}

impl Open {
    fn new(span: Span, anchor: usize) -> Self {
        Self {
            start: span.start,
            end: span.start,
            anchor,
        }
    }
}

struct Key {
    text: String,
    span: Span,
    /// A key that is no scalar: reported, and its value dropped.
    usable: bool,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    root: Option<Node>,
    /// Anchored nodes with the number of nodes in each.
    anchors: BTreeMap<usize, (Node, usize)>,
    copies: usize,
    anchored: usize,
    issues: Vec<Issue>,
}

impl Builder {
    fn issue(&mut self, span: Span, cause: Cause) {
        self.issues.push(Issue {
            span,
            cause,
            also: None,
        });
    }

    fn finish(mut self) -> Parsed {
        // After a syntax error the open collections still hold what was read before it.
        while let Some(frame) = self.stack.pop() {
            let (node, _) = close(frame, None);
            let end = node.span.end;
            self.put(node, 0, end);
        }
        Parsed {
            root: self.root,
            issues: self.issues,
        }
    }

    fn event(&mut self, text: &str, event: Event<'_>, span: Span) -> Flow {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                self.issue(Span::new(span.start, span.end), Cause::SecondDocument {});
                return Flow::Stop;
            }
            Event::Scalar(value, style, anchor, tag) => {
                let plain = matches!(style, ScalarStyle::Plain);
                let plain = match tag.as_deref().map(|tag| (tag.core_suffix(), tag)) {
                    None => plain,
                    Some((Some("str"), _)) => false,
                    Some((Some("int" | "bool" | "float" | "null"), _)) => true,
                    Some((_, tag)) => {
                        self.unknown_tag(span, tag);
                        plain
                    }
                };
                let scalar = Scalar {
                    text: value.into_owned(),
                    plain,
                };
                let node = Node {
                    span: trim(text, span),
                    value: Value::Scalar(scalar),
                };
                let end = node.span.end;
                self.put(node, anchor, end);
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.collection_tag(span, tag.as_deref(), "seq");
                self.stack.push(Frame::List {
                    at: Open::new(span, anchor),
                    list: List {
                        items: Vec::new(),
                        flow: matches!(style, StructureStyle::Flow),
                    },
                });
                return self.check_depth(span);
            }
            Event::MappingStart(style, anchor, tag) => {
                self.collection_tag(span, tag.as_deref(), "map");
                self.stack.push(Frame::Map {
                    at: Open::new(span, anchor),
                    map: Map {
                        entries: Vec::new(),
                        flow: matches!(style, StructureStyle::Flow),
                    },
                    key: None,
                });
                return self.check_depth(span);
            }
            Event::SequenceEnd => {
                if let Some(frame) = self.stack.pop() {
                    let (node, at) = close(frame, Some(span));
                    let end = node.span.end;
                    self.put(node, at.anchor, end);
                }
            }
            Event::MappingEnd => {
                if let Some(frame) = self.stack.pop() {
                    let (mut node, at) = close(frame, Some(span));
                    self.finish_map(&mut node);
                    let end = node.span.end;
                    self.put(node, at.anchor, end);
                }
            }
            Event::Alias(id) => return self.alias(id, span),
            Event::UnresolvedAlias(name) => {
                let name = name.into_owned();
                self.issue(span, Cause::UnknownAnchor { name });
                self.put(null(span), 0, span.end);
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | _ => {}
        }
        Flow::Go
    }

    fn check_depth(&mut self, span: Span) -> Flow {
        if self.stack.len() <= MAX_DEPTH {
            return Flow::Go;
        }
        self.issue(Span::new(span.start, span.start), Cause::TooDeep { max: MAX_DEPTH });
        Flow::Stop
    }

    fn unknown_tag(&mut self, span: Span, tag: &Tag) {
        self.issue(span, Cause::UnknownTag { tag: tag.original() });
    }

    fn collection_tag(&mut self, span: Span, tag: Option<&Tag>, own: &str) {
        if let Some(tag) = tag
            && tag.core_suffix() != Some(own)
        {
            self.unknown_tag(Span::new(span.start, span.start), tag);
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Flow {
        let Some((node, size)) = self.anchors.get(&id) else {
            // The anchor is still open: a node that holds itself.
            self.issue(span, Cause::RecursiveAnchor {});
            self.put(null(span), 0, span.end);
            return Flow::Go;
        };
        self.copies += size;
        if self.copies > MAX_COPIES {
            self.issue(span, Cause::TooManyCopies { max: MAX_COPIES });
            return Flow::Stop;
        }
        let node = node.clone();
        self.put(node, 0, span.end);
        Flow::Go
    }

    fn put(&mut self, node: Node, anchor: usize, end: usize) {
        if anchor != 0 {
            let size = size(&node);
            let before = self.anchored;
            self.anchored = before.saturating_add(size);
            if self.anchored <= MAX_ANCHORED {
                self.anchors.insert(anchor, (node.clone(), size));
            } else if before <= MAX_ANCHORED {
                self.issue(node.span, Cause::TooManyCopies { max: MAX_COPIES });
            }
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { at, list }) => {
                at.end = end;
                list.items.push(node);
            }
            Some(Frame::Map { at, map, key }) => match key.take() {
                None => {
                    at.end = end;
                    let (text, usable) = match node.value {
                        Value::Scalar(scalar) => (scalar.text, true),
                        Value::List(_) | Value::Map(_) => (String::new(), false),
                    };
                    let span = node.span;
                    *key = Some(Key { text, span, usable });
                    if !usable {
                        self.issue(span, Cause::KeyNotText {});
                    }
                }
                Some(key) => {
                    at.end = end.max(at.end);
                    if key.usable {
                        map.entries.push(Entry {
                            key: key.text,
                            key_span: key.span,
                            value: node,
                            merged: false,
                        });
                    }
                }
            },
        }
    }

    /// Refuses duplicate keys and carries out merges (`<<`).
    fn finish_map(&mut self, node: &mut Node) {
        let Value::Map(map) = &mut node.value else { return };
        let doubled = duplicates(&map.entries);
        for (index, also) in &doubled {
            let entry = &map.entries[*index];
            self.issues.push(Issue {
                span: entry.key_span,
                cause: Cause::DuplicateKey { key: entry.key.clone() },
                also: Some(*also),
            });
        }
        if !doubled.is_empty() {
            let mut doubled = doubled.into_iter().map(|(index, _)| index).peekable();
            let mut index = 0;
            map.entries.retain(|_| {
                let gone = doubled.next_if_eq(&index).is_some();
                index += 1;
                !gone
            });
        }
        if map.entries.iter().any(|entry| entry.key == "<<") {
            self.merge(map);
        }
    }

    fn merge(&mut self, map: &mut Map) {
        let mut own: BTreeSet<String> = map.entries.iter().map(|entry| entry.key.clone()).collect();
        let Some(position) = map.entries.iter().position(|entry| entry.key == "<<") else {
            return;
        };
        let merge = map.entries.remove(position);
        let sources = match merge.value.value {
            Value::List(list) => list.items,
            Value::Map(_) | Value::Scalar(_) => vec![merge.value],
        };
        for source in sources {
            let Value::Map(source_map) = source.value else {
                let found = source.found();
                self.issue(source.span, Cause::BadMerge { found });
                continue;
            };
            for mut entry in source_map.entries {
                if own.insert(entry.key.clone()) {
                    entry.merged = true;
                    map.entries.push(entry);
                }
            }
        }
    }

    fn scan_error(&mut self, text: &str, error: &ScanError) {
        let offset = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
        let tab = matches!(
            error.kind(),
            ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation
        ) || tab_before(text, offset);
        let cause = if tab {
            Cause::Tab {}
        } else if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            Cause::TooDeep { max: MAX_DEPTH }
        } else {
            Cause::Syntax { message: error.info() }
        };
        self.issue(Span::new(offset, offset), cause);
    }
}

/// The entries whose key stood before, with the place where it did.
fn duplicates(entries: &[Entry]) -> Vec<(usize, Span)> {
    // Most maps are small, and then comparing all with all needs no memory.
    const SMALL: usize = 16;
    let mut found = Vec::new();
    if entries.len() <= SMALL {
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = entries[..index].iter().find(|first| first.key == entry.key) {
                found.push((index, first.key_span));
            }
        }
        return found;
    }
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        if let Some(also) = first.get(entry.key.as_str()) {
            found.push((index, *also));
        } else {
            first.insert(&entry.key, entry.key_span);
        }
    }
    found
}

/// Whether the line of `offset` is indented with a tab.
fn tab_before(text: &str, offset: usize) -> bool {
    let line_start = text
        .get(..offset)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |at| at + 1);
    text[line_start..]
        .bytes()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .any(|byte| byte == b'\t')
}

fn null(span: Span) -> Node {
    Node {
        span,
        value: Value::Scalar(Scalar {
            text: String::new(),
            plain: true,
        }),
    }
}

/// `end` is the span of the event that closes the collection. A block has no closing mark of its own, and its event
/// stands where the next thing starts, so a block ends where its last child ends.
fn close(frame: Frame, end: Option<Span>) -> (Node, Open) {
    let stop = |flow: bool, at: Open| {
        let stop = end.filter(|_| flow).map_or(at.end, |span| span.end);
        Span::new(at.start, stop.max(at.start))
    };
    match frame {
        Frame::List { at, list } => {
            let span = stop(list.flow, at);
            let value = Value::List(list);
            (Node { span, value }, at)
        }
        Frame::Map { at, mut map, key } => {
            // A key whose value was never reached.
            if let Some(key) = key.filter(|key| key.usable) {
                map.entries.push(Entry {
                    key: key.text,
                    key_span: key.span,
                    value: null(Span::new(key.span.end, key.span.end)),
                    merged: false,
                });
            }
            let span = stop(map.flow, at);
            let value = Value::Map(map);
            (Node { span, value }, at)
        }
    }
}

/// Without the white space that the event's span may have at its end.
fn trim(text: &str, span: Span) -> Span {
    let Some(slice) = text.get(span.start..span.end) else {
        return span;
    };
    Span::new(span.start, span.start + slice.trim_end().len())
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::List(list) => list.items.iter().map(size).sum(),
        Value::Map(map) => map.entries.iter().map(|entry| size(&entry.value)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn dump(node: &Node, text: &str, path: &str, out: &mut String) {
        let source = text.get(node.span.start..node.span.end).unwrap_or("?");
        let _ = writeln!(out, "{path} {}..{} {source:?}", node.span.start, node.span.end);
        match &node.value {
            Value::Scalar(_) => {}
            Value::List(list) => {
                for (at, item) in list.items.iter().enumerate() {
                    dump(item, text, &format!("{path}[{at}]"), out);
                }
            }
            Value::Map(map) => {
                for entry in &map.entries {
                    let key = text.get(entry.key_span.start..entry.key_span.end).unwrap_or("?");
                    assert_eq!(key.trim_matches(['"', '\'']), entry.key);
                    dump(&entry.value, text, &format!("{path}.{}", entry.key), out);
                }
            }
        }
    }

    #[test]
    fn spans_cover_what_was_written() {
        let text = "a: plain # c\nb: \"q\\n\"\nc: 'single'\nd: |\n  one\n  two\n\ne: >-\n    x\n    y\nf:\ng: ~\nh: [1, {x: y}, ]\ni:\n- z\n-   k: v\n    l:\n-\nj: {}\nk: plain\n  over lines\n\"l\": &an [w]\nm: *an\nn: !!str 5\no:\n  - p:\n      q: *an\n";
        let parsed = parse(text);
        assert!(parsed.issues.is_empty(), "{:?}", parsed.issues);
        let mut out = String::new();
        dump(&parsed.root.unwrap(), text, "", &mut out);
        insta::assert_snapshot!(out);
    }
}
