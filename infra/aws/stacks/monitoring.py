"""Who is told when something is wrong or costs too much, and where to look first.

docs/operations.md is the other half: a section for every alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aws_cdk import Aws, CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.aws.profiles import Profile
from infra.aws.stacks.alarms import all_of, made
from infra.aws.stacks.control_plane import ControlPlane
from infra.aws.stacks.dashboard import add_dashboard
from infra.aws.stacks.data import Data

_TELLERS: Final = ("cloudwatch.amazonaws.com", "budgets.amazonaws.com")
"""Services that publish: alarms, and the budget."""
_FORECAST_PERCENT: Final = 80
_SPENT_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Told:
    """`email`: who is told; None for nobody yet. `budget_usd`: of the whole account, a month."""

    email: str | None
    budget_usd: int


class Monitoring(Stack):
    """Attributes:
    topic: where alarms and the budget tell; whoever subscribes to it is told.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        control_plane: ControlPlane,
        data: Data,
        profile: Profile,
        told: Told,
        **kwargs: Any,
    ) -> None:
        super().__init__(scope, id_, **kwargs)
        self.topic = self._topic(told.email)
        tell = actions.SnsAction(self.topic)
        alarms = [made(self, alarm) for alarm in all_of(control_plane, data, profile)]
        for alarm in alarms:
            alarm.add_alarm_action(tell)
            alarm.add_ok_action(tell)
        add_dashboard(self, control_plane=control_plane, data=data, alarms=alarms)
        self._add_budget(told.budget_usd)
        CfnOutput(self, "Topic", value=self.topic.topic_arn, description="Who subscribes is told of alarms")

    def _topic(self, email: str | None) -> sns.Topic:
        """AWS's own key for topics lets no service publish: its policy cannot be changed."""
        key = kms.Key(
            self,
            "AlarmsKey",
            description="What ModelRocket's alarms say",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.DESTROY,
        )
        topic = sns.Topic(
            self,
            "Alarms",
            display_name="ModelRocket",
            master_key=key,
            enforce_ssl=True,
        )
        for teller in _TELLERS:
            key.add_to_resource_policy(_let(teller, "kms:Decrypt", "kms:GenerateDataKey*", on="*"))
            topic.add_to_resource_policy(_let(teller, "sns:Publish", on=topic.topic_arn))
        if email:
            topic.add_subscription(subscriptions.EmailSubscription(email))
        return topic

    def _add_budget(self, usd: int) -> None:
        budget = budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=usd, unit="USD"),
            ),
            notifications_with_subscribers=[
                self._notification("FORECASTED", _FORECAST_PERCENT),
                self._notification("ACTUAL", _SPENT_PERCENT),
            ],
        )
        budget.node.add_dependency(self.topic)  # its policy too: a budget is refused that may not publish

    def _notification(self, kind: str, percent: int) -> budgets.CfnBudget.NotificationWithSubscribersProperty:
        return budgets.CfnBudget.NotificationWithSubscribersProperty(
            notification=budgets.CfnBudget.NotificationProperty(
                comparison_operator="GREATER_THAN",
                notification_type=kind,
                threshold=percent,
                threshold_type="PERCENTAGE",
            ),
            subscribers=[
                budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=self.topic.topic_arn)
            ],
        )


def _let(service: str, *doing: str, on: str) -> iam.PolicyStatement:
    """For this account, and not for another that names the same topic."""
    return iam.PolicyStatement(
        principals=[iam.ServicePrincipal(service)],
        actions=list(doing),
        resources=[on],
        conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
    )
