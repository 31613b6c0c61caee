//! Words that messages of all kinds need.

/// A number with its noun: `1 node`, `2 nodes`. The noun is one that takes an `s`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {}", plural(count, noun))
}

/// The noun alone, as it stands after `count`.
pub fn plural(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{noun}{ending}")
}

/// Names with commas; of more than `max` the first, and how many there are besides.
pub fn some_of<'a>(names: impl ExactSizeIterator<Item = &'a str>, max: usize) -> String {
    let besides = names.len().saturating_sub(max);
    let mut shown: Vec<&str> = names.take(max).collect();
    let more = format!("and {besides} more");
    if besides > 0 {
        shown.push(&more);
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        let all = [0, 1, 2].map(|count| counted(count, "Job"));
        assert_eq!(all, ["0 Jobs", "1 Job", "2 Jobs"]);
    }

    #[test]
    fn of_many_names_the_first_are_told() {
        let told = [1, 2, 3].map(|max| some_of(["a", "b"].into_iter(), max));
        assert_eq!(told, ["a, and 1 more", "a, b", "a, b"]);
        assert_eq!(some_of([].into_iter(), 2), "");
    }
}
