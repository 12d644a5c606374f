//! Whom a request is about: by name, or the caller where there is none.

use std::sync::Arc;

use front::{Ask, Call, Caller};
use ids::{AccountId, Arn};
use wire::Fault;

use crate::{
    entity::{Entity as _, ManagedPolicy, User},
    fault, names,
    registry::{Iam, Kept},
};

/// An entity that a request named, there or not: a stranger to it does not learn which.
#[derive(Debug)]
pub struct Subject<T> {
    pub name: String,
    pub arn: String,
    pub account: AccountId,
    found: Option<Arc<T>>,
}

impl<T: Kept> Subject<T> {
    /// Looks a name up in the caller's account.
    pub fn of(iam: &Iam, call: &Call, name: &str) -> Self {
        let account = call.account().clone();
        let found = iam.named::<T>(&account, name);
        let arn =
            found.as_ref().map_or_else(|| names::arn(&account, T::KIND, "/", name), |found| found.arn());
        Self { name: name.into(), arn, account, found }
    }

    /// The entity as it is now: the same one that was authorized, not one that took its name since.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub fn now(&self, iam: &Iam) -> Result<Arc<T>, Fault> {
        let now = self.found.as_ref().and_then(|found| iam.by_id::<T>(found.id()));
        now.ok_or_else(|| fault::no_such(T::KIND, &self.name))
    }

    /// The question whether the caller may do `action` to it.
    pub fn ask(&self, action: &'static str) -> Ask {
        let mut ask = Ask::new(action, &self.arn).on(&self.account);
        for (key, value) in self.found.iter().flat_map(|found| found.tags()) {
            for prefix in ["aws:ResourceTag", "iam:ResourceTag"] {
                ask = ask.with(format!("{prefix}/{key}"), [value.clone()]);
            }
        }
        ask
    }
}

/// A managed policy that a request named by its ARN, there or not.
#[derive(Debug)]
pub struct Managed(Subject<ManagedPolicy>);

impl Managed {
    /// Looks an ARN up; only the caller's own account has policies for him.
    ///
    /// # Errors
    /// `InvalidInput` for what is no ARN of a policy.
    pub fn of(iam: &Iam, call: &Call, text: &str) -> Result<Self, Fault> {
        let invalid = || fault::invalid_input(format!("ARN {text} is not valid."));
        let arn: Arn = text.parse().map_err(|_| invalid())?;
        let path =
            arn.resource.strip_prefix("policy/").filter(|_| arn.service == "iam").ok_or_else(invalid)?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let subject = Subject::<ManagedPolicy>::of(iam, call, name);
        let found = subject.found.filter(|found| found.arn() == text);
        Ok(Self(Subject { arn: text.into(), found, ..subject }))
    }

    pub fn arn(&self) -> &str {
        &self.0.arn
    }

    pub fn into_subject(self) -> Subject<ManagedPolicy> {
        self.0
    }

    /// The question whether the caller may do `action` to it.
    pub fn ask(&self, action: &'static str) -> Ask {
        self.0.ask(action)
    }

    /// The policy as it is now; `None` if there is none.
    pub fn now(&self, iam: &Iam) -> Option<Arc<ManagedPolicy>> {
        self.0.now(iam).ok()
    }

    /// The policy as it is now.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub fn found(&self, iam: &Iam) -> Result<Arc<ManagedPolicy>, Fault> {
        self.now(iam).ok_or_else(|| fault::no_managed_policy(self.arn()))
    }
}

/// Whose access keys a request is about.
#[derive(Debug)]
pub enum Owner {
    Root(AccountId),
    User(Subject<User>),
}

impl Owner {
    /// The named user, or the caller.
    ///
    /// # Errors
    /// `ValidationError` if there is no name and the caller is no user.
    pub fn of(iam: &Iam, call: &Call, name: Option<&str>) -> Result<Self, Fault> {
        match (name, &call.caller) {
            (Some(name), _) => Ok(Self::User(Subject::of(iam, call, name))),
            (None, Caller::User(user)) => Ok(Self::User(Subject::of(iam, call, &user.name))),
            (None, Caller::Root { account, .. }) => Ok(Self::Root(account.clone())),
            (None, Caller::Session(_) | Caller::Federated(_) | Caller::Service(_)) => {
                Err(fault::no_user_of_caller())
            }
        }
    }

    /// The question whether the caller may do `action` for the owner.
    pub fn ask(&self, action: &'static str) -> Ask {
        match self {
            Self::Root(account) => Ask::new(action, root_arn(account)).on(account),
            Self::User(subject) => subject.ask(action),
        }
    }

    /// The user as he is now; `None` for the root user.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub fn user(&self, iam: &Iam) -> Result<Option<Arc<User>>, Fault> {
        match self {
            Self::Root(_) => Ok(None),
            Self::User(subject) => subject.now(iam).map(Some),
        }
    }
}

/// The name of an account's root user.
pub fn root_arn(account: &AccountId) -> String {
    format!("arn:aws:iam::{account}:root")
}
