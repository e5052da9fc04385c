//! Lines and indentation of a text, as an edit needs them.

use crate::yaml::{Map, Node, Value};

/// A text with the conventions that insertions follow.
#[derive(Clone, Copy)]
pub(super) struct Layout<'t> {
    pub(super) text: &'t str,
    /// `\n` or `\r\n`, as the first line ends.
    pub(super) newline: &'t str,
}

impl<'t> Layout<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let crlf = text
            .find('\n')
            .is_some_and(|at| at > 0 && text.as_bytes().get(at - 1) == Some(&b'\r'));
        Self {
            text,
            newline: if crlf { "\r\n" } else { "\n" },
        }
    }

    pub(super) fn line_start(self, offset: usize) -> usize {
        self.text[..offset].rfind('\n').map_or(0, |at| at + 1)
    }

    /// Where the line's text ends, before its line break.
    pub(super) fn line_end(self, offset: usize) -> usize {
        let end = self.text[offset..].find('\n').map_or(self.text.len(), |at| offset + at);
        if end > offset && self.text.as_bytes().get(end - 1) == Some(&b'\r') {
            end - 1
        } else {
            end
        }
    }

    /// Where the next line starts; the end of the text after the last.
    pub(super) fn next_line(self, offset: usize) -> usize {
        self.text[offset..]
            .find('\n')
            .map_or(self.text.len(), |at| offset + at + 1)
    }

    /// The spaces before the first character of the line.
    pub(super) fn indent(self, offset: usize) -> usize {
        let start = self.line_start(offset);
        self.text[start..].bytes().take_while(|byte| *byte == b' ').count()
    }

    /// Characters from the start of the line; equal to spaces in what is before a block's first key or dash.
    pub(super) fn column(self, offset: usize) -> usize {
        offset - self.line_start(offset)
    }

    /// The dash of a block list's entry: the nearest line above or at the entry that starts with one.
    pub(super) fn dash(self, item: &Node) -> Option<usize> {
        let mut line = self.line_start(item.span.start);
        loop {
            let indent = self.text[line..].bytes().take_while(|byte| *byte == b' ').count();
            let at = line + indent;
            let after = self.text.as_bytes().get(at + 1).copied();
            let dashed = self.text[at..].starts_with('-')
                && matches!(after, None | Some(b' ' | b'\n' | b'\r' | b'\t'))
                && at < item.span.start.max(at + 1);
            if dashed {
                return Some(at);
            }
            if line == 0 {
                return None;
            }
            line = self.line_start(line - 1);
        }
    }

    /// Where the colon after a key stands.
    pub(super) fn colon(self, key_end: usize) -> Option<usize> {
        let rest = self.text.get(key_end..)?;
        let spaces = rest.bytes().take_while(|byte| *byte == b' ').count();
        rest[spaces..].starts_with(':').then_some(key_end + spaces)
    }
}

/// The column of a block map's keys.
pub(super) fn key_column(layout: Layout<'_>, map: &Map) -> Option<usize> {
    let entry = map.entries.iter().find(|entry| !entry.merged)?;
    Some(layout.column(entry.key_span.start))
}

/// Whether a node was copied from an anchor: then it does not lie where its parent does.
pub(super) fn is_copy(parent: &Node, child: &Node) -> bool {
    child.span.start < parent.span.start || child.span.end > parent.span.end
}

/// Whether any part of the text is in flow style around this node.
pub(super) fn is_flow(node: &Node) -> bool {
    match &node.value {
        Value::List(list) => list.flow,
        Value::Map(map) => map.flow,
        Value::Scalar(_) => false,
    }
}
