//! Links between pages lead somewhere.
use super::{anchor, pages, root};
use std::fs;
use std::path::Path;

#[test]
fn docs_links_lead_somewhere() {
    let mut followed = 0;
    for (file, page) in pages() {
        let folder = Path::new(&file).parent().unwrap();
        for target in targets(&page).into_iter().filter(|target| !target.contains("://")) {
            let (path, fragment) = target.split_once('#').unwrap_or((&target, ""));
            let path = if path.is_empty() { root().join(&file) } else { root().join(folder).join(path) };
            assert!(path.exists(), "{file}: {target}");
            if !fragment.is_empty() {
                let there = fs::read_to_string(&path).unwrap();
                let headings =
                    there.lines().filter_map(|line| line.strip_prefix('#')).map(|line| anchor(line.trim_start_matches('#').trim()));
                assert!(headings.into_iter().any(|heading| heading == fragment), "{file}: {target}");
            }
            followed += 1;
        }
    }
    assert!(followed > 60, "{followed}");
    let readme = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for (file, _) in pages().iter().filter(|(file, _)| file.starts_with("docs/") && file != "docs/README.md") {
        assert!(targets(&readme).iter().any(|target| format!("docs/{target}") == *file), "docs/README.md does not name {file}");
    }
}

/// What stands in `](..)`, outside of code.
fn targets(page: &str) -> Vec<String> {
    let mut inside = false;
    let prose = page.lines().filter(|line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    let links = prose.flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
    links.map(str::to_owned).collect()
}
