//! Who answers: the method is judged first, then the path picks the demonstration or the files.

use super::{
    Server, What, demo, files,
    http::{Method, Request, Response, Status},
};

/// Answers a request whose body has been read.
pub(super) fn answer(server: &Server, request: &Request) -> Response {
    let root = match &server.what {
        What::Demonstration(root) => root.as_ref(),
        What::Program(program) => return program.answer(request),
    };
    let route = Route::of(root, request);
    let allow = match route {
        Route::Demo(name) if demo::is_action(name) => "POST, OPTIONS",
        _ => "GET, HEAD, OPTIONS",
    };
    match (request.method, allow.starts_with("POST")) {
        (Method::Get | Method::Head, false) | (Method::Post, true) => {}
        (Method::Options, _) => return Response::empty(Status::NO_CONTENT).with("Allow", allow),
        (Method::Unknown, _) => {
            return Response::plain(Status::NOT_IMPLEMENTED, "unknown method").with("Allow", allow);
        }
        _ => {
            let text = format!("not allowed here; allowed are {allow}");
            return Response::plain(Status::METHOD_NOT_ALLOWED, &text).with("Allow", allow);
        }
    }
    match route {
        Route::Page => demo::page(),
        Route::Demo(name) => demo::answer(name, request.query.as_deref()),
        Route::ToPage => Response::empty(Status::MOVED_PERMANENTLY).with("Location", "/demo/"),
        Route::Files(root) => files::answer(root, request),
        Route::Nowhere => Response::plain(Status::NOT_FOUND, "not found"),
    }
}

enum Route<'a> {
    Page,
    ToPage,
    Demo(&'a str),
    Files(&'a files::Root),
    Nowhere,
}

impl<'a> Route<'a> {
    fn of(root: Option<&'a files::Root>, request: &'a Request) -> Self {
        match (request.path.as_str(), root) {
            ("/demo", _) => Self::ToPage,
            ("/demo/", _) | ("/", None) => Self::Page,
            (path, root) => match (path.strip_prefix("/demo/"), root) {
                (Some(name), _) => Self::Demo(name),
                (None, Some(root)) => Self::Files(root),
                (None, None) => Self::Nowhere,
            },
        }
    }
}
