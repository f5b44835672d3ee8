"""What is read when an experiment, or a sample for one, breaks a rule."""

from models.experiments import BUCKETS, LONGEST_EXPERIMENT_KEY, MOST_VARIANTS
from services.experiments import record, save
from services.experiments.definitions import PROMPT_VARIANTS
from services.messages import message


def wrong_experiment(error: save.ExperimentInvalid, locale: str) -> str:
    """The rule that operators' terms break, in their language."""
    match error:
        case save.ExperimentKeyInvalid():
            return _no_name(locale)
        case save.TrafficInvalid():
            return message(locale, "The traffic has to be 0 to 100 percent, two decimals at most.")
        case save.VariantCountInvalid():
            return message(locale, "An experiment takes 1 to {most} variants.", most=MOST_VARIANTS)
        case save.VariantKeyTaken():
            return message(locale, "Another variant has this key.")
        case save.VariantUnknown():
            variants = PROMPT_VARIANTS
            return message(locale, "There are texts for {variants} only.", variants=variants)
        case save.WeightTooSmall():
            return message(
                locale,
                "Beside the others this weight is too small: less than 1 in {buckets}.",
                buckets=BUCKETS,
            )
        case _:
            return message(locale, "The weight has to be a positive number.")


def wrong_sample(error: record.SampleInvalid, locale: str) -> str:
    """The rule that a sample breaks, in the member's language."""
    match error:
        case record.TooManySamples():
            return message(
                locale, "At most {most} events fit one call.", most=record.MOST_SAMPLES_A_CALL
            )
        case record.MetricInvalid():
            return _no_name(locale)
        case record.ValueInvalid():
            return message(
                locale,
                "This has to be a number from {least} to {most}.",
                least=int(-record.LARGEST_VALUE),
                most=int(record.LARGEST_VALUE),
            )
        case record.NotAssigned():
            return message(locale, "You take no part in this experiment.")
        case _:
            return message(locale, "No experiment of this name is running.")


def _no_name(locale: str) -> str:
    return message(
        locale,
        "This takes 1 to {longest} of a-z, A-Z, 0-9 and _.:-, beginning with a letter or digit.",
        longest=LONGEST_EXPERIMENT_KEY,
    )
