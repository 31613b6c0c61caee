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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        let all = [0, 1, 2].map(|count| counted(count, "Job"));
        assert_eq!(all, ["0 Jobs", "1 Job", "2 Jobs"]);
    }
}
