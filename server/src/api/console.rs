//! The web console: files that are a part of the program, for any browser that reaches the API. They hold nothing secret; what they show they ask the API
//! for, as whoever looks at them. Nothing comes from elsewhere, and nothing is built: what a browser gets is what lies in `console/`.
use crypto::hash::{HashAlgorithm, hash};
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use std::sync::LazyLock;

/// Scripts and styles come from files of this origin alone, nobody frames it, and text never becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// A file.
#[derive(Debug)]
pub(super) struct Page {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! page {
    ($kind:expr, $name:literal) => {
        Page { path: concat!("/console/", $name), kind: $kind, text: include_str!(concat!("../console/", $name)) }
    };
}

static PAGES: &[Page] = &[
    page!(HTML, "index.html"),
    page!(CSS, "style.css"),
    page!(CSS, "parts.css"),
    page!(IMAGE, "icon.svg"),
    page!(SCRIPT, "app.js"),
    page!(SCRIPT, "api.js"),
    page!(SCRIPT, "events.js"),
    page!(SCRIPT, "dom.js"),
    page!(SCRIPT, "format.js"),
    page!(SCRIPT, "table.js"),
    page!(SCRIPT, "dialog.js"),
    page!(SCRIPT, "chart.js"),
    page!(SCRIPT, "login.js"),
    page!(SCRIPT, "pages/overview.js"),
    page!(SCRIPT, "pages/sessions.js"),
    page!(SCRIPT, "pages/attempts.js"),
    page!(SCRIPT, "pages/policies.js"),
    page!(SCRIPT, "pages/configuration.js"),
    page!(SCRIPT, "pages/doctor.js"),
    page!(SCRIPT, "pages/blocks.js"),
    page!(SCRIPT, "pages/certificates.js"),
];

/// One for all of them: they belong together.
static TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let texts: Vec<_> = PAGES.iter().flat_map(|page| [page.path.as_bytes(), page.text.as_bytes()]).collect();
    let digest: String = hash(HashAlgorithm::Sha256, &texts).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    // Hexadecimal digits in quotes are a header's value.
    HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""))
});

/// The file that is asked for.
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Page> {
    if method != Method::GET && method != Method::HEAD {
        return None;
    }
    match path {
        "/" | "/console" | "/console/" => PAGES.first(),
        path => PAGES.iter().find(|page| page.path == path),
    }
}

/// The answer with it. Browsers keep it, and ask each time whether it is still the same.
pub(super) fn serve(page: &Page, asked: &HeaderMap) -> Response<Bytes> {
    let known = asked.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let unchanged = known.split(',').any(|tag| tag.trim().as_bytes() == TAG.as_bytes());
    let mut response = Response::new(if unchanged { Bytes::new() } else { Bytes::from_static(page.text.as_bytes()) });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(ETAG, TAG.clone());
    for (name, value) in [
        (CONTENT_TYPE, page.kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    fn page(path: &str) -> &'static Page {
        find(&Method::GET, path).unwrap_or_else(|| panic!("nothing at {path}"))
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console");
        let mut there: Vec<_> =
            files(&folder).iter().map(|path| format!("/console/{}", path.strip_prefix(&folder).unwrap().display())).collect();
        let mut served: Vec<_> = PAGES.iter().map(|page| page.path.to_owned()).collect();
        there.sort();
        served.sort();
        assert_eq!(there, served);
        assert_eq!(page("/").path, "/console/index.html");
        assert!(find(&Method::POST, "/").is_none() && find(&Method::GET, "/console/../api/mod.rs").is_none());
    }

    #[test]
    fn what_a_file_names_is_there() {
        for page in PAGES {
            let folder = page.path.rsplit_once('/').unwrap().0;
            for import in page.text.split(" from \"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let path = match import.strip_prefix("../") {
                    Some(above) => format!("{}/{above}", folder.rsplit_once('/').unwrap().0),
                    None => format!("{folder}/{}", import.trim_start_matches("./")),
                };
                assert_eq!(self::page(&path).kind, SCRIPT, "{}: {import}", page.path);
            }
        }
        let named = PAGES[0].text.split(['"']).filter(|word| word.starts_with("/console/"));
        let found: Vec<_> = named.map(|path| page(path).path).collect();
        assert!(found.len() > 5, "{found:?}");
    }

    /// What strangers call themselves must stay text, also where a browser does not know the policy; and nothing comes from elsewhere.
    #[test]
    fn text_never_becomes_markup_and_nothing_comes_from_elsewhere() {
        for page in PAGES.iter().filter(|page| page.kind != IMAGE) {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "Function(",
                "srcdoc",
                "javascript:",
                "localStorage.setItem(\"token",
            ] {
                assert!(!page.text.contains(word), "{} has {word}", page.path);
            }
            let elsewhere = page.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{}", page.path);
        }
        let index = PAGES[0].text;
        assert!(!index.contains("<style") && !index.contains(" style=") && !index.contains(" onclick="), "inline");
        assert_eq!(index.matches("<script").count(), index.matches("<script type=\"module\" src=\"/console/").count(), "inline scripts");
    }

    #[test]
    fn browsers_are_told_what_not_to_do() {
        let response = serve(page("/console/app.js"), &HeaderMap::new());
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), SCRIPT);
        assert_eq!((header("x-content-type-options"), header("cache-control")), ("nosniff".into(), "no-cache".into()));
        for rule in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(header("content-security-policy").contains(rule), "{rule}");
        }
        assert!(!header("content-security-policy").contains("unsafe"));
    }

    #[test]
    fn what_has_not_changed_is_not_sent_again() {
        let app = page("/console/app.js");
        let tag = serve(app, &HeaderMap::new()).headers()[ETAG].clone();
        let asked = |tag: &str| serve(app, &HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::try_from(tag).unwrap())]));
        let same = asked(&format!("\"x\", {}", tag.to_str().unwrap()));
        assert_eq!((same.status(), same.body().len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!((asked("\"x\"").status(), asked("\"x\"").body().len()), (StatusCode::OK, app.text.len()));
    }
}
