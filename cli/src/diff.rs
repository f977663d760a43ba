//! What differs between two texts, line by line.

/// One line of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Same(&'a str),
    Removed(&'a str),
    Added(&'a str),
}

/// Lines around a difference that are shown with it.
const CONTEXT: usize = 3;
/// Longer texts are taken as wholly different beyond their common beginning and end, which bounds memory at 16 MB.
const LONGEST: usize = 2000;

/// The difference as a list of all lines, by the longest common subsequence.
pub fn lines<'a>(old: &'a str, new: &'a str) -> Vec<Line<'a>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let before = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let after = old[before..].iter().rev().zip(new[before..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut result: Vec<Line<'a>> = old[..before].iter().map(|line| Line::Same(line)).collect();
    result.extend(middle(&old[before..old.len() - after], &new[before..new.len() - after]));
    result.extend(old[old.len() - after..].iter().map(|line| Line::Same(line)));
    result
}

fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    if old.len() > LONGEST || new.len() > LONGEST {
        return old.iter().map(|line| Line::Removed(line)).chain(new.iter().map(|line| Line::Added(line))).collect();
    }
    // longest[i][j]: length of the longest common subsequence of old[i..] and new[j..].
    let mut longest = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i][j] =
                if old[i] == new[j] { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut result = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            result.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || longest[i + 1][j] >= longest[i][j + 1]) {
            result.push(Line::Removed(old[i]));
            i += 1;
        } else {
            result.push(Line::Added(new[j]));
            j += 1;
        }
    }
    result
}

/// Only what differs, with some lines around it; `None` stands for lines that were left out.
pub fn hunks(lines: Vec<Line<'_>>) -> Vec<Option<Line<'_>>> {
    let changed: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| !matches!(line, Line::Same(_))).map(|(at, _)| at).collect();
    let mut result = Vec::new();
    let mut skipped = false;
    for (at, line) in lines.into_iter().enumerate() {
        let next = changed.partition_point(|changed| *changed < at);
        let near = [next.checked_sub(1), Some(next)].into_iter().flatten();
        if near.filter_map(|index| changed.get(index)).any(|changed| changed.abs_diff(at) <= CONTEXT) {
            if std::mem::take(&mut skipped) && !result.is_empty() {
                result.push(None);
            }
            result.push(Some(line));
        } else {
            skipped = true;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(old: &str, new: &str) -> String {
        let lines = hunks(lines(old, new)).into_iter().map(|line| match line {
            None => "…".to_owned(),
            Some(Line::Same(line)) => format!(" {line}"),
            Some(Line::Removed(line)) => format!("-{line}"),
            Some(Line::Added(line)) => format!("+{line}"),
        });
        lines.collect::<Vec<_>>().join(",")
    }

    #[test]
    fn the_same_text_has_no_difference() {
        assert_eq!(text("a\nb", "a\nb"), "");
    }

    #[test]
    fn a_changed_line_is_one_removed_and_one_added() {
        assert_eq!(text("a\nb\nc", "a\nx\nc"), " a,-b,+x, c");
    }

    #[test]
    fn lines_that_moved_together_stay_common() {
        assert_eq!(text("a\nb\nc\nd", "b\nc\nd\na"), "-a, b, c, d,+a");
    }

    #[test]
    fn far_lines_are_left_out() {
        let old: Vec<String> = (0..30).map(|line| line.to_string()).collect();
        let mut new = old.clone();
        new[2] = "x".into();
        new[25] = "y".into();
        assert_eq!(text(&old.join("\n"), &new.join("\n")), " 0, 1,-2,+x, 3, 4, 5,…, 22, 23, 24,-25,+y, 26, 27, 28");
    }

    #[test]
    fn from_and_to_nothing() {
        assert_eq!(text("", "a"), "+a");
        assert_eq!(text("a", ""), "-a");
    }
}
