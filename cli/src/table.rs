//! Tables: columns as wide as their widest cell, the last one as long as it is.

use crate::style::{Style, Tone, harmless};

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell(pub String, pub Tone);

/// A plain cell.
#[allow(clippy::needless_pass_by_value)] // numbers and texts are written alike
pub fn cell(text: impl ToString) -> Cell {
    Cell(text.to_string(), Tone::Plain)
}

/// Between two columns.
const GAP: usize = 3;

/// The table with `indent` spaces before each line; empty without rows.
pub fn table(style: Style, indent: usize, head: &[&str], rows: &[Vec<Cell>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head: Vec<Cell> = head.iter().map(|title| Cell((*title).into(), Tone::Dim)).collect();
    let lines: Vec<Vec<Cell>> = std::iter::once(&head)
        .chain(rows)
        .map(|row| row.iter().map(|Cell(text, tone)| Cell(harmless(text), *tone)).collect())
        .collect();
    let width = |column: usize| {
        lines.iter().filter_map(|row| row.get(column)).map(|cell| cell.0.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &lines {
        let mut line = " ".repeat(indent);
        for (column, Cell(cell, tone)) in row.iter().enumerate() {
            line.push_str(&style.paint(*tone, cell));
            if column + 1 < row.len() {
                let missing = widths.get(column).copied().unwrap_or(0).saturating_sub(cell.chars().count());
                line.push_str(&" ".repeat(missing + GAP));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_also_with_colours() {
        let rows = vec![
            vec![Cell("web".into(), Tone::Good), cell(2), cell("")],
            vec![cell("a-longer-one"), cell(10), cell("x")],
        ];
        let plain = table(Style { colour: false, terminal: false }, 2, &["NAME", "READY", "NOTE"], &rows);
        assert_eq!(plain, "  NAME           READY   NOTE\n  web            2\n  a-longer-one   10      x\n");
        let coloured = table(Style { colour: true, terminal: true }, 2, &["NAME", "READY", "NOTE"], &rows);
        assert!(coloured.contains("\x1b[32mweb\x1b[0m            2"), "{coloured}");
    }

    #[test]
    fn no_rows_no_head() {
        assert_eq!(table(Style { colour: false, terminal: false }, 0, &["NAME"], &[]), "");
    }
}
