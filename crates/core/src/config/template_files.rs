//! The texts of the templates that a config defines, and of the files that they include. Pure: the files are
//! read by a function that the caller gives.

use std::io;
use std::path::{Component, Path as FsPath};

use super::code::Code;
use super::file::{Findings, Path, Target};
use super::template::includes;
use super::template_tables::{DefinedTemplate, TemplateSource};
use super::{Template, Templates};

/// The text of a file that is named relative to the config.
pub type ReadSibling<'a> = dyn FnMut(&FsPath) -> io::Result<String> + 'a;

/// The texts of `[templates]`, and of the files that they include.
pub fn read_templates(
    tables: &[DefinedTemplate],
    folder: &FsPath,
    read: &mut ReadSibling<'_>,
    findings: &mut Findings,
) -> Templates {
    let mut templates = Templates::default();
    for DefinedTemplate { name, source, .. } in tables {
        let template = match source {
            TemplateSource::Inline(text) => Some(Template { text: text.clone(), file: None }),
            TemplateSource::File(file, path) => read_template(folder, file, path, read, findings),
        };
        templates.user.extend(template.map(|template| (name.clone(), template)));
    }
    let mut next: Vec<String> =
        templates.user.values().flat_map(|template| owned(includes(&template.text))).collect();
    while let Some(name) = next.pop() {
        if templates.text(&name).is_some() || !is_file_stem(&name) {
            continue;
        }
        // Compiling says where a partial that is nowhere was asked for.
        let file = format!("{name}.hbs");
        let text = read(FsPath::new(&file));
        let file = folder.join(file);
        match text {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(text) => {
                next.extend(owned(includes(&text)));
                templates.partials.insert(name, Template { text, file: Some(file) });
            }
            Err(cause) if templates.without_text.insert(name) => {
                let message = format!("cannot read the partial {}: {cause}", file.display());
                findings.error(
                    Code::TemplateUnreadable,
                    (&Path::default().key("templates"), Target::Key),
                    message,
                    "",
                );
            }
            Err(_) => {}
        }
    }
    templates
}

fn read_template(
    folder: &FsPath,
    file: &str,
    path: &Path,
    read: &mut ReadSibling<'_>,
    findings: &mut Findings,
) -> Option<Template> {
    // A ConfigMap's keys lie in one folder; what lies elsewhere would not be mounted with them.
    let inside =
        FsPath::new(file).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside {
        let help = "put it beside the config and name it relative to that";
        findings.error(
            Code::TemplateOutside,
            path,
            format!("{file:?} is outside of the config's folder"),
            help,
        );
        return None;
    }
    let found = folder.join(file);
    match read(FsPath::new(file)) {
        Ok(text) => Some(Template { text, file: Some(found) }),
        Err(cause) => {
            let message = format!("cannot read the template {}: {cause}", found.display());
            // What is wrong with a file that is there is not where it lies.
            let is_missing = cause.kind() == io::ErrorKind::NotFound;
            let help = if is_missing { "the path is relative to the config file" } else { "" };
            findings.refuse(Code::TemplateUnreadable, path, message, help)
        }
    }
}

/// Whether a partial's name can be a file's beside the config.
fn is_file_stem(name: &str) -> bool {
    !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn owned<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}
