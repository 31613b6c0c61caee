//! Where a key stands already that is refused the second time. Pure.
//!
//! The `toml` crate tells only where the second one is. The first is the key of the same name without which
//! the second one is no duplicate.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Keys that are tried, the nearest first. Each costs one more reading of the file.
const TRIES_MAX: usize = 20;

/// Byte offsets of the first of two equal keys, the second of which is at `second`; `None` where it was not
/// found.
pub fn first_of_two(text: &str, second: &Range<usize>) -> Option<Range<usize>> {
    let key = key_in(text.get(second.clone())?)?;
    let mut places = Vec::new();
    // Of two equal keys the first is kept, but of two headers of a table the second; before it is only one.
    for text in [text, &text[..second.start]] {
        let (root, _) = DeTable::parse_recoverable(text);
        collect_in_table(root.get_ref(), &key, &mut places);
    }
    places.retain(|place| place.end <= second.start);
    places.sort_by_key(|place| std::cmp::Reverse(place.start));
    places.dedup();
    let unused = (0..).map(|n| format!("unused-{n}")).find(|unused| !text.contains(unused))?;
    places.into_iter().take(TRIES_MAX).find(|place| {
        let renamed = format!("{}{unused}{}", &text[..place.start], &text[place.end..]);
        let moved = second.start - place.len() + unused.len();
        DeTable::parse(&renamed).err().and_then(|error| error.span()).is_none_or(|span| span.start != moved)
    })
}

/// A key as it is meant, without quotes and escapes.
fn key_in(written: &str) -> Option<String> {
    let line = format!("{written} = 0");
    let table = DeTable::parse(&line).ok()?;
    table.get_ref().keys().next().map(|key| key.get_ref().to_string())
}

fn collect_in_table(table: &DeTable<'_>, wanted: &str, places: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        if key.get_ref() == wanted {
            places.push(key.span());
        }
        collect_in_value(value.get_ref(), wanted, places);
    }
}

fn collect_in_value(value: &DeValue<'_>, wanted: &str, places: &mut Vec<Range<usize>>) {
    match value {
        DeValue::Table(table) => collect_in_table(table, wanted, places),
        DeValue::Array(items) => {
            items.iter().for_each(|item| collect_in_value(item.get_ref(), wanted, places));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_key_of_the_same_table_and_no_other() {
        for marked in [
            "«a» = 1\na = 2\n",
            "«a» = 1\nb = { a = 1 }\na = 2\n",
            "«\"a\"» = 1\n# a = 3\na = 2\n",
            "[«a»]\nb = 1\n[c]\na = 1\n[a]\n",
            "[[g]]\na = 1\n[[g]]\n«a» = 1\n'a' = 2\n",
            "x = { «a» = 1, b = 2, a = 3 }\n",
            "x = [{ a = 1 }, { «\"é\"» = 1, b = 2, 'é' = 3 }]\n",
            "b.«a» = 1\nc.a = 1\nb.a = 2\n",
            "«unused-0» = 1\nunused-0 = 1\n",
        ] {
            let text = marked.replace(['«', '»'], "");
            let second = DeTable::parse(&text).unwrap_err().span().unwrap();
            let [start, end] = ['«', '»'].map(|mark| marked.find(mark).unwrap());
            assert_eq!(first_of_two(&text, &second), Some(start..end - '«'.len_utf8()), "{text}");
        }
        assert_eq!(first_of_two("a = 1\n", &(0..1)), None);
        assert_eq!(first_of_two("a = 1\n", &(70..90)), None);
    }
}
