//! What people and programs write to the command and on the socket: lines of `append`, queries, times, pages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_cli::fuzzing::{line, lines, time};
use runstone_store::holder::Page;
use runstone_store::{IdFilter, Item, Query};

fuzz_target!(|data: &[u8]| {
    line(data);
    if let Ok(page) = Page::from_cbor(data) {
        let again = Page::from_cbor(&page.to_cbor());
        assert_eq!(again.map(|page| page.to_cbor()), Ok(page.to_cbor()));
    }
    if let Some((&how, rest)) = data.split_first() {
        lines(rest, usize::from(how >> 4), usize::from(how & 15));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        time(text);
        if let Ok(query) = Query::parse(text) {
            assert_eq!(Query::parse(&written(&query)).as_ref(), Ok(&query));
        }
    }
});

fn written(query: &Query) -> String {
    match query {
        Query::Items(items) => items.iter().map(item).collect::<Vec<_>>().join(" or "),
        _ => unreachable!("no text asks for everything"),
    }
}

fn item(item: &Item) -> String {
    let id = |filter: IdFilter| match filter {
        IdFilter::Is(id) => id.to_string(),
        _ => "none".to_owned(),
    };
    let types = (!item.types.is_empty()).then(|| item.types.join(","));
    let texts = [
        ("type", types),
        ("stream", item.stream.clone()),
        ("source", item.source.clone()),
        ("principal", item.principal.clone()),
        (
            "authority",
            item.authority.map(|one| one.as_str().to_owned()),
        ),
        ("causation", item.causation.map(id)),
        ("correlation", item.correlation.map(id)),
        ("scope", item.scope.clone()),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)));
    let tags = item.tags.iter().map(|tag| ("tag", tag.clone()));
    let parts: Vec<_> = texts
        .chain(tags)
        .map(|(name, text)| format!("{name}={text}"))
        .collect();
    parts.join(";")
}
