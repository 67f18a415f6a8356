use super::*;
use crate::settings::{Problems, Vars};

fn site() -> Site {
    let vars = Vars::new([
        ("QWEN_INTL_IMAGE_MODEL", "draws"),
        ("QWEN_INTL_VIDEO_MODEL", "films"),
    ]);
    Site::read(&vars, &mut Problems::default())
}

fn text(thinking: bool, search: bool) -> Purpose {
    Purpose::Text { thinking, search }
}

/// Section 5, row by row.
#[test]
fn follows_the_table() {
    for (id, upstream, asks_for) in [
        ("qwen-intl/qwen3.5-plus", "qwen3.5-plus", text(false, false)),
        ("qwen_intl/New-One", "New-One", text(false, false)),
        (
            "qwen-intl/qwen3-max-thinking",
            "qwen3-max",
            text(true, false),
        ),
        ("qwen3.7-plus", "qwen3.7-plus", text(false, false)),
        ("QWEN3.7-Plus-Thinking", "qwen3.7-plus", text(true, false)),
        ("qwen3-vl-plus-search", "qwen3-vl-plus", text(false, true)),
        (
            "qwen3-omni-flash-2025-12-01-thinking-search",
            "qwen3-omni-flash-2025-12-01",
            text(true, true),
        ),
        ("qwen3.7-plus-image", "qwen3.7-plus", Purpose::Draw),
        ("qwen3.7-plus-image-edit", "qwen3.7-plus", Purpose::Edit),
        ("qwen3.5-plus-video", "qwen3.5-plus", Purpose::Film),
        ("qwen-plus-image", "qwen-plus", Purpose::Draw),
        ("wanx-v1", "draws", Purpose::Draw),
        ("my-WANX-2", "draws", Purpose::Draw),
        ("animate-v1", "films", Purpose::Film),
        ("qwen-animate", "films", Purpose::Film),
    ] {
        let model = find(id, &site(), &[]).unwrap_or_else(|| panic!("{id}"));
        assert_eq!((model.upstream.as_str(), model.id.as_str()), (upstream, id));
        assert_eq!(purpose(id), asks_for, "{id}");
    }
}

#[test]
fn leaves_the_domestic_names_to_the_domestic_site() {
    for id in DOMESTIC.iter().copied().chain([
        "Qwen3.5-Plus",
        "qwen3.5-plus-thinking",
        "qwen-max-search",
        "qwen9-unheard-of",
        "gpt-4o",
        "gpt-image",
        "sora-video",
        "openai/wanx-v1",
        "-image",
        "",
    ]) {
        assert_eq!(find(id, &site(), &[]), None, "{id}");
    }
}

#[test]
fn what_the_site_lists_is_found() {
    let listed = ["Qwen9-Max".to_owned(), "qwen3.5-plus".to_owned()];
    let model = find("qwen9-max-thinking", &site(), &listed).unwrap();
    assert_eq!(
        (model.upstream.as_str(), model.thinking),
        ("Qwen9-Max", true)
    );
    assert_eq!(find("qwen3.5-plus", &site(), &listed), None);
    assert_eq!(
        discovered("qwen3.5-plus", &site()).id,
        "qwen-intl/qwen3.5-plus"
    );
    assert_eq!(discovered("Qwen9-Max", &site()).id, "Qwen9-Max");
}

#[test]
fn every_listed_id_is_found_as_it_is_listed() {
    let site = site();
    for model in listed(&site) {
        assert_eq!(find(&model.id, &site, &[]), Some(model.clone()));
    }
}

/// Section 4.3.
#[test]
fn sizes_become_the_sites_five_shapes() {
    for (size, shape) in [
        ("1024x1024", "1:1"),
        ("512X512", "1:1"),
        ("1536x1024", "4:3"),
        ("1024x1536", "3:4"),
        ("1792x1024", "16:9"),
        ("1280x720", "16:9"),
        ("1920x1080", "16:9"),
        ("1024x1792", "9:16"),
        ("720x1280", "9:16"),
        ("1080x1920", "9:16"),
        ("9:16", "9:16"),
        ("4:3", "4:3"),
        ("1000x900", "1:1"),
        ("4000x1000", "16:9"),
        (" 768 x 1024 ", "3:4"),
    ] {
        let asked = Size::read(size);
        assert!(asked.is_some(), "{size}");
        assert_eq!(ratio(asked, Kind::Image), shape, "{size}");
        assert_eq!(ratio(asked, Kind::Video), shape, "{size}");
    }
    assert_eq!(ratio(None, Kind::Image), "1:1");
    assert_eq!(ratio(None, Kind::Video), "16:9");
    assert_eq!(ratio(None, Kind::VideoOfImage), "16:9");
}
