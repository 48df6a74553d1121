"""What sudo's words mean: why an agent could not become another user. Pure.

sudo is asked to speak English (``LC_ALL=C``); PAM modules may not, so what is not recognised is
shown as it is. Not for starting anything (:mod:`harness.transport.launch`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from harness.environment import Become
from harness.errors import AuthenticationError


class Refusal(StrEnum):
    """Why privilege could not be raised."""

    NO_SUDO = "no-sudo"
    PASSWORD_REQUIRED = "password-required"
    WRONG_PASSWORD = "wrong-password"
    NOT_ALLOWED = "not-allowed"
    TTY_REQUIRED = "tty-required"
    ACCOUNT = "account"
    UNKNOWN_USER = "unknown-user"
    OTHER_PROMPT = "other-prompt"
    BROKEN = "broken"


class PrivilegeError(AuthenticationError):
    """A machine where the log-in works but ``become`` does not."""

    def __init__(self, machine: str, refusal: Refusal, message: str, *, hint: str = "") -> None:
        super().__init__(machine, message, hint=hint)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class _Sign:
    """``pattern`` in sudo's output means ``refusal``; ``message`` may use {user} (to become) and {said}."""

    refusal: Refusal
    pattern: re.Pattern[str]
    message: str
    hint: str


def _sign(refusal: Refusal, pattern: str, message: str, hint: str) -> _Sign:
    return _Sign(refusal, re.compile(pattern, re.IGNORECASE | re.MULTILINE), message, hint)


_ALLOW = "let an administrator add a rule with visudo, or take 'become' out of the environment file"
_BY_REFERENCE = "give it by reference, {env: NAME} or {file: PATH}, or allow NOPASSWD in sudoers"

# In this order: an account's problem is followed by the complaint about the password that it caused.
_SIGNS = (
    _sign(
        Refusal.NO_SUDO,
        r"sudo\S*: (?:command )?not found|sudo\S*: no such file or directory|can't execute '?sudo"
        r"|unknown command:? .?sudo",
        "there is no sudo on the machine",
        "install it (apt-get install sudo, dnf install sudo), or log in as a user that needs none",
    ),
    _sign(
        Refusal.BROKEN,
        r"must be owned by uid 0|effective uid is not 0|no new privileges|is owned by uid|is world writable"
        r"|unable to initialize policy plugin|no valid sudoers sources",
        "sudo on the machine is broken: {said}",
        "mend sudo on the machine first",
    ),
    _sign(
        Refusal.TTY_REQUIRED,
        r"you must have a tty",
        "sudo on the machine wants a terminal (requiretty), and an agent has none",
        "add 'Defaults:USER !requiretty' with visudo",
    ),
    _sign(
        Refusal.ACCOUNT,
        r"account (?:or password is )?expired|account validation failure|account management error"
        r"|password (?:has )?expired|is your account locked",
        "sudo refuses the account: {said}",
        "look at the account with chage -l, and at /etc/pam.d/sudo",
    ),
    _sign(
        Refusal.NOT_ALLOWED,
        r"not in the sudoers file|is not allowed to|may not run sudo",
        "the log-in user may not become {user} by sudo",
        _ALLOW,
    ),
    _sign(
        Refusal.UNKNOWN_USER,
        r"unknown user",
        "there is no user {user} on the machine to become",
        "correct 'become.user'",
    ),
    _sign(
        Refusal.WRONG_PASSWORD,
        r"incorrect password attempt|sorry, try again|authentication failure",
        "sudo refused the password of 'become.password'",
        "the log-in user's own password is wanted (unless targetpw or rootpw is set in sudoers)",
    ),
    _sign(
        Refusal.PASSWORD_REQUIRED,
        r"a password is required|a terminal is required to (?:read the password|authenticate)|no tty present"
        r"|no askpass program|no password was provided",
        "sudo asks for a password, and 'become.password' is not given",
        _BY_REFERENCE,
    ),
)
_PROMPT = re.compile(
    r"\[sudo\][^\n]*:\s*$|(?:password|passcode|code|token|pin)[^\n]{0,60}:\s*$", re.IGNORECASE
)


def understand(machine: str, become: Become, said: str) -> PrivilegeError | None:
    """The error that sudo's output means, or None where the output is not sudo's refusal.

    ``said`` may hold a profile's noise before it. Only single lines of it are ever repeated, and
    none that holds a command.
    """
    for sign in _SIGNS:
        found = sign.pattern.search(said)
        if found is not None:
            line = said[said.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0].strip()
            message = sign.message.format(user=become.user, said=line[:200])
            hint = sign.hint
            if sign.refusal is Refusal.PASSWORD_REQUIRED and become.password is not None:
                message = "sudo takes no password from its standard input"
                hint = "allow NOPASSWD in sudoers, or see /etc/pam.d/sudo"
            return PrivilegeError(machine, sign.refusal, message, hint=hint)
    return None


def unanswered(machine: str, said: str) -> PrivilegeError | None:
    """The error where sudo (or PAM) waits for something that is not the password it was told to ask for."""
    last = said.rpartition("\n")[2].strip()
    if not _PROMPT.search(said):
        return None
    return PrivilegeError(
        machine,
        Refusal.OTHER_PROMPT,
        f"sudo asks for something that azreach cannot answer: '{last[:100]}'",
        hint="allow NOPASSWD in sudoers for the log-in user, or add 'Defaults passprompt_override'",
    )


def wrong_password(machine: str) -> PrivilegeError:
    """sudo asked a second time."""
    sign = next(sign for sign in _SIGNS if sign.refusal is Refusal.WRONG_PASSWORD)
    return PrivilegeError(machine, sign.refusal, sign.message, hint=sign.hint)
