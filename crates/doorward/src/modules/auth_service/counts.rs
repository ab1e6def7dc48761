//! What is counted of a service.

use std::sync::Arc;

use super::service::Service;
use crate::metrics::{Counter, Family, Metrics, Reading};
use crate::words::words;

static ANSWERS: Family = Family {
    name: "doorward_auth_service_answers_total",
    help: "Decisions of an auth_service by method (none without credentials) and answer.",
};
static QUESTIONS: Family = Family {
    name: "doorward_auth_introspections_total",
    help: "Questions about tokens (auth_introspection): the token is active, refused, or there was no clear answer.",
};
static UP: Family = Family {
    name: "doorward_auth_store_up",
    help: "Whether the store of an auth_service said within a second what has changed: 1 yes, 0 no.",
};

words! {
    /// How somebody shows who it is (`$auth_method`).
    Method {
        /// Not at all.
        None = "none",
        /// By an API key.
        ApiKey = "api_key",
        /// By a session.
        Session = "session",
        /// By user and password in each request.
        Basic = "basic",
        /// By user and password at the login page.
        Login = "login",
        /// By a JSON Web Token.
        Jwt = "jwt",
        /// By a token that an authorization server is asked about.
        Introspection = "introspection",
    }
}

words! {
    /// What was answered.
    Answer {
        /// It may pass.
        Allowed = "allowed",
        /// 401
        Refused = "refused",
        /// 403
        Forbidden = "forbidden",
        /// 503
        Unavailable = "unavailable",
    }
}

/// The counters of a service, by method and answer.
pub struct Counts([[Arc<Counter>; Answer::ALL.len()]; Method::ALL.len()]);

impl Counts {
    /// Those of a service.
    pub fn new(metrics: &Metrics, service: &str) -> Counts {
        let counter = |method: Method, answer: Answer| {
            let labels = vec![
                ("service", service.to_owned()),
                ("method", method.as_str().to_owned()),
                ("answer", answer.as_str().to_owned()),
            ];
            metrics.counter(&ANSWERS, labels)
        };
        Counts(Method::ALL.map(|method| Answer::ALL.map(|answer| counter(method, answer))))
    }

    /// Counts an answer.
    pub fn add(&self, method: Method, answer: Answer) {
        self.0[method as usize][answer as usize].add_one();
    }
}

/// The counters of questions about tokens.
pub struct Questions {
    /// It is active.
    pub active: Arc<Counter>,
    /// It is not, or not for this service.
    pub refused: Arc<Counter>,
    /// There was no clear answer.
    pub failed: Arc<Counter>,
}

impl Questions {
    /// Those of a service.
    pub fn new(metrics: &Metrics, service: &str) -> Questions {
        let counter = |result: &str| {
            metrics.counter(&QUESTIONS, vec![("service", service.to_owned()), ("result", result.to_owned())])
        };
        Questions { active: counter("active"), refused: counter("refused"), failed: counter("failed") }
    }
}

impl Service {
    /// Counts from now on, and what there is to read.
    pub fn measure(self: &Arc<Self>, metrics: &Metrics) -> Option<Reading> {
        self.counts.get_or_init(|| Counts::new(metrics, &self.name));
        if let Some(introspection) = &self.introspection {
            introspection.measure(metrics, &self.name);
        }
        let directory = self.directory.clone()?;
        let labels = vec![("service", self.name.clone())];
        Some(Reading::gauge(&UP, labels, move || f64::from(u8::from(directory.is_up_to_date()))))
    }

    pub(super) fn count(&self, method: Method, answer: Answer) {
        if let Some(counts) = self.counts.get() {
            counts.add(method, answer);
        }
    }
}
