//! Entries of lists that go.

use super::super::Change;
use super::super::place::Layout;
use crate::problem::Span;
use crate::yaml::{Node, Value};

/// Removes one entry of a list, whose key ends at `key_end`.
pub(super) fn item(layout: Layout<'_>, node: &Node, key_end: Option<usize>, index: usize) -> Option<Vec<Change>> {
    let Value::List(list) = &node.value else { return None };
    let item = list.items.get(index)?;
    if list.flow {
        return Some(vec![flow(layout, node, &list.items, index)]);
    }
    let dash = layout.dash(item)?;
    let column = layout.column(dash);
    let start = comments_above(layout, layout.line_start(dash), column);
    let end = lines_below(layout, item.span.end, column);
    let mut changes = Vec::new();
    if list.items.len() == 1 {
        // Nothing would be no list.
        let colon = layout.colon(key_end?)?;
        changes.push(Change {
            span: Span::new(colon + 1, colon + 1),
            new: " []".to_owned(),
        });
    }
    changes.push(Change {
        span: trim_last_break(layout, start, end),
        new: String::new(),
    });
    Some(changes)
}

/// At the end of a file without a last line feed the break before the entry goes instead of the one after it.
fn trim_last_break(layout: Layout<'_>, start: usize, end: usize) -> Span {
    if end < layout.text.len() || layout.text.ends_with('\n') || start == 0 {
        return Span::new(start, end);
    }
    let before = layout.text[..start].trim_end_matches('\n').trim_end_matches('\r').len();
    Span::new(before.max(start.saturating_sub(layout.newline.len())), end)
}

/// The first of the comment lines directly above that stand in the same column.
fn comments_above(layout: Layout<'_>, mut start: usize, column: usize) -> usize {
    while start > 0 {
        let above = layout.line_start(start - 1);
        let line = &layout.text[above..start];
        let is_own = line.trim_start().starts_with('#') && line.len() - line.trim_start().len() == column;
        if !is_own {
            break;
        }
        start = above;
    }
    start
}

/// The start of the first line below that is not the entry's: comments deeper than its dash still are.
fn lines_below(layout: Layout<'_>, offset: usize, column: usize) -> usize {
    let mut end = layout.next_line(offset);
    while end < layout.text.len() {
        let next = layout.next_line(end);
        let line = &layout.text[end..next];
        let deeper = line.len() - line.trim_start_matches(' ').len() > column;
        if !(line.trim_start().starts_with('#') && deeper) {
            break;
        }
        end = next;
    }
    end
}

/// An entry with the comma before it, or behind it where it is the first.
fn flow(layout: Layout<'_>, node: &Node, items: &[Node], index: usize) -> Change {
    let span = items[index].span;
    let text = layout.text;
    let comma_after = text[span.end..node.span.end].find(',').map(|at| span.end + at + 1);
    let (start, end) = match (index.checked_sub(1), comma_after) {
        (Some(before), _) => (items[before].span.end, span.end),
        (None, Some(comma)) => {
            let spaces = text[comma..].bytes().take_while(|byte| *byte == b' ').count();
            (span.start, comma + spaces)
        }
        (None, None) => (span.start, span.end),
    };
    Change {
        span: Span::new(start, end),
        new: String::new(),
    }
}
