"""What a member reads when an input breaks a rule that several inputs share."""

from models.notifications import LONGEST_TOKEN
from schema.experiment_texts import wrong_experiment, wrong_sample
from services import errors, input_rules
from services.achievements import save
from services.catalogue import coupon_codes
from services.experiments import record
from services.experiments import save as save_experiment
from services.kpis import satisfaction
from services.messages import message
from services.notifications import preferences, register
from services.points import many_holds
from services.sharing import create


def broken_rule(error: errors.InvalidInput, locale: str) -> str:
    """The rule in the member's language; for rules of developers, the developer's text."""
    match error:
        case input_rules.TextInvalid():
            return message(
                locale,
                "This takes {shortest} to {longest} characters, and none that cannot be stored.",
                shortest=error.shortest,
                longest=error.longest,
            )
        case input_rules.OutOfRange():
            return message(
                locale,
                "This has to be a whole number from {least} to {most}.",
                least=error.least,
                most=error.most,
            )
        case input_rules.EndsBeforeItBegins():
            return message(locale, "The end has to lie after the beginning.")
        case coupon_codes.TooManyCodes():
            return message(
                locale, "At most {most} codes fit one call.", most=coupon_codes.MOST_CODES_A_CALL
            )
        case register.TokenInvalid():
            return message(
                locale,
                "The token needs 1 to {longest} characters, as the device was given them.",
                longest=LONGEST_TOKEN,
            )
        case preferences.QuietHoursInvalid():
            return message(locale, "The time has to lie between 00:00 and 23:59.")
        case satisfaction.ExchangeNotOwn():
            return message(locale, "This is none of your exchanges.")
        case create.TargetInvalid():
            return message(
                locale, "An item or achievement has to be named, and nothing for other links."
            )
        case _:
            return _broken_by_terms(error, locale)


def _broken_by_terms(error: errors.InvalidInput, locale: str) -> str:
    """The rules of what operators decide, and of what is measured by it."""
    match error:
        case save.DefinitionInvalid():
            return _broken_by_definition(error, locale)
        case save_experiment.ExperimentInvalid():
            return wrong_experiment(error, locale)
        case record.SampleInvalid():
            return wrong_sample(error, locale)
        case many_holds.TooManyLots():
            return message(
                locale, "At most {most} lots fit one call.", most=many_holds.MOST_LOTS_NAMED
            )
        case many_holds.NoOneNamed():
            return message(locale, "Either lots or a member have to be named, and not both.")
        case input_rules.JsonInvalid():
            return message(
                locale,
                "This takes JSON of at most {bytes} bytes and {levels} levels.",
                bytes=error.most_bytes,
                levels=error.most_levels,
            )
        case _:
            return message(locale, "The request is not valid: {problem}", problem=error.problem)


def _broken_by_definition(error: save.DefinitionInvalid, locale: str) -> str:
    """The rules of what operators decide of an achievement."""
    match error:
        case save.KeyIsNoName():
            return message(
                locale, "The key needs 1 to 64 of a-z, 0-9 and _, beginning with a letter."
            )
        case save.KeyTaken():
            return message(locale, "Another achievement has this key.")
        case _:
            return message(locale, "This cannot be changed any more.")
