//! Pages that are made from code must say what the code says.

use std::path::Path;

#[test]
fn the_compatibility_page_says_what_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let page = milena::handlers::compatibility_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "run UPDATE_DOCS=1 cargo test -p milena --test documents");
}
