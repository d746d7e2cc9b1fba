"""What only the people behind a study know of it; the model card and the checklist quote it."""

from __future__ import annotations

from pydantic import Field

from sslkit.config.base import PluginConfig


class CardConfig(PluginConfig):
    """Statements for the model card and the reporting checklist; what is left out stands there as not provided."""

    intended_use: str | None = Field(None, description="What the model is meant for, and for whom.")
    out_of_scope: str | None = Field(None, description="What it must not be used for.")
    background: str | None = Field(None, description="The clinical question, and what is known already.")
    target_population: str | None = Field(None, description="Whom it is meant to serve, and known inequalities.")
    data_source: str | None = Field(None, description="Where the images come from, and why these.")
    data_dates: str | None = Field(None, description="When they were taken.")
    setting: str | None = Field(None, description="Where: clinics, cameras, countries.")
    eligibility: str | None = Field(None, description="Which patients and images were let in, and treatments received.")
    reference_standard: str | None = Field(None, description="Who graded the images, how, and how well they agree.")
    fairness: str | None = Field(None, description="Which groups were looked at for fairness, and how.")
    ethics: str | None = Field(None, description="Ethical approval and consent.")
    funding: str | None = Field(None, description="Who paid, and their part in the study.")
    conflicts: str | None = Field(None, description="Conflicts of interest.")
    protocol: str | None = Field(None, description="Where the study protocol is.")
    registration: str | None = Field(None, description="Where the study is registered.")
    data_availability: str | None = Field(None, description="Whether and how others get the data.")
    code_availability: str | None = Field(None, description="Whether and how others get the code.")
    patient_involvement: str | None = Field(None, description="How patients and the public took part.")
    interpretation: str | None = Field(None, description="What the results mean beside other evidence.")
    limitations: str | None = Field(None, description="What limits the study, beyond what the run knows.")
    contact: str | None = Field(None, description="Whom to ask.")
    license: str | None = Field(None, description="Licence of the weights.")
    citation: str | None = Field(None, description="How to cite it.")
