use crate::onnx_file::OnnxFile;
use crate::reading::Coco;

const COCO: &str = include_str!("../models/coco-labels.txt");
/// The numbers from 1 to 90 that stand for no class of COCO.
const GAPS: [usize; 10] = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83];
/// What toolkits call the classes of those numbers.
const NO_CLASS: &str = "N/A";
const MOST_LABELS: usize = 65_536;

/// Metadata that names classes, and who writes it.
const KEYS: [&str; 7] =
    ["names", "character", "labels", "classes", "class_names", "id2label", "label_map"];

/// The names of the classes that the file's metadata has, with the key.
pub(crate) fn of_metadata(file: &OnnxFile) -> Option<(&'static str, Vec<String>)> {
    KEYS.iter().find_map(|key| {
        let names = parse(file.metadata.get(*key)?);
        // Some files have the number of classes under these keys.
        let is_number = |name: &String| name.chars().all(|c| c.is_ascii_digit());
        let is_count = names.len() == 1 && names.iter().all(is_number);
        (!names.is_empty() && !is_count).then_some((*key, names))
    })
}

/// Parses a Python or JSON list or dictionary of quoted names, or names on lines or between commas.
pub(crate) fn parse(text: &str) -> Vec<String> {
    let text = text.trim();
    if text.starts_with(['{', '[', '(']) {
        return quoted(text);
    }
    let separator = if text.contains('\n') { '\n' } else { ',' };
    let names = text.split(separator).map(|name| name.trim().to_owned());
    names.filter(|name| !name.is_empty()).take(MOST_LABELS).collect()
}

/// The quoted texts of a list or dictionary. Those before a colon are keys: numbers, by which the
/// names are put in order.
fn quoted(text: &str) -> Vec<String> {
    let mut names: Vec<(usize, String)> = Vec::new();
    let mut key: Option<usize> = None;
    let mut characters = text.chars().peekable();
    let mut number = String::new();
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' => {
                let mut name = String::new();
                while let Some(inner) = characters.next() {
                    match inner {
                        '\\' => name.extend(characters.next()),
                        inner if inner == character => break,
                        inner => name.push(inner),
                    }
                }
                while characters.next_if(|next| next.is_whitespace()).is_some() {}
                if characters.peek() == Some(&':') {
                    key = name.trim().parse().ok();
                } else if names.len() < MOST_LABELS {
                    let place = key.take().unwrap_or(names.len());
                    names.push((place, name.trim().to_owned()));
                }
                number.clear();
            }
            digit if digit.is_ascii_digit() => number.push(digit),
            ':' => {
                if let Ok(parsed) = number.parse() {
                    key = Some(parsed);
                }
                number.clear();
            }
            _ => number.clear(),
        }
    }
    names.sort_by_key(|(place, _)| *place);
    names.into_iter().map(|(_, name)| name).collect()
}

/// Names for a model that has none: COCO's if their number suits it, else `class 0` and so on.
/// `None` stands for a number of classes that the model does not tell.
pub(crate) fn fallback(classes: Option<usize>, coco: Coco) -> (&'static str, Vec<String>) {
    let names = || COCO.lines().map(str::to_owned);
    let ids = |first: usize| {
        let mut names = names();
        (first..=90)
            .map(|id| if id == 0 || GAPS.contains(&id) { None } else { names.next() })
            .map(|name| name.unwrap_or_else(|| NO_CLASS.to_owned()))
            .collect()
    };
    match (classes, coco) {
        (Some(80), _) | (None, Coco::Classes) => ("assumed: COCO", names().collect()),
        (Some(90), _) | (None, Coco::Ids) => ("assumed: COCO", ids(1)),
        (Some(91), _) => ("assumed: COCO", ids(0)),
        (Some(classes), _) => {
            let numbered = (0..classes.min(MOST_LABELS)).map(|class| format!("class {class}"));
            ("none in the file: name them in a manifest", numbered.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_every_notation() {
        assert_eq!(parse("{0: 'person', 1: \"it's\", 2: 'a\\'b'}"), ["person", "it's", "a'b"]);
        assert_eq!(parse("{\"1\": \"b\", \"0\": \"a\"}"), ["a", "b"]);
        assert_eq!(parse("['boat', 'net, fine']"), ["boat", "net, fine"]);
        assert_eq!(parse("boat\nnet\n"), ["boat", "net"]);
        assert_eq!(parse("boat, net"), ["boat", "net"]);
        assert_eq!(parse("{broken: 'a"), ["a"]);
        assert!(parse("").is_empty() && parse("{}").is_empty());
    }

    #[test]
    fn a_model_without_names_has_those_of_coco_or_numbers() {
        let label = |classes, coco, class: usize| fallback(classes, coco).1[class].clone();
        assert_eq!(label(Some(80), Coco::Classes, 79), "toothbrush");
        assert_eq!(label(Some(91), Coco::Classes, 1), "person");
        assert_eq!(label(Some(91), Coco::Classes, 90), "toothbrush");
        assert_eq!(label(None, Coco::Ids, 0), "person");
        assert_eq!(label(None, Coco::Ids, 89), "toothbrush");
        assert_eq!(label(Some(91), Coco::Classes, 12), "N/A");
        assert_eq!(label(Some(3), Coco::Classes, 2), "class 2");
    }
}
