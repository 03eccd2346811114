/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations. model.inc has every operation of the services with its method, path and members,
 * so that a refusal can call what is not built by its name; BUILT says which of them are. After a
 * change of BUILT, make model.inc again: scripts/api-model >src/api/model.inc. SPEC aws-iot 1.3,
 * 5.5.
 */
#include "api/internal.h"

#include <string.h>

#include "api/model.inc"

static const struct {
    enum service service;
    const char *name;
    operation_fn handler;
} BUILT[] = {
    /* clang-format off */
    { SERVICE_IOT, "GetRegistrationCode", api_get_registration_code },
    { SERVICE_IOT, "DeleteRegistrationCode", api_delete_registration_code },
    { SERVICE_IOT, "RegisterCACertificate", api_register_ca_certificate },
    { SERVICE_IOT, "DescribeCACertificate", api_describe_ca_certificate },
    { SERVICE_IOT, "UpdateCACertificate", api_update_ca_certificate },
    { SERVICE_IOT, "ListCACertificates", api_list_ca_certificates },
    { SERVICE_IOT, "DeleteCACertificate", api_delete_ca_certificate },
    { SERVICE_IOT, "ListCertificates", api_list_certificates },
    { SERVICE_IOT, "ListCertificatesByCA", api_list_certificates_by_ca },
    { SERVICE_IOT, "DescribeCertificate", api_describe_certificate },
    { SERVICE_IOT, "UpdateCertificate", api_update_certificate },
    { SERVICE_IOT, "DeleteCertificate", api_delete_certificate },
    { SERVICE_IOT, "RegisterCertificate", api_register_certificate },
    { SERVICE_IOT, "RegisterCertificateWithoutCA", api_register_certificate_without_ca },
    { SERVICE_IOT, "CreateKeysAndCertificate", api_create_keys_and_certificate },
    { SERVICE_IOT, "CreateCertificateFromCsr", api_create_certificate_from_csr },
    { SERVICE_IOT, "CreatePolicy", api_create_policy },
    { SERVICE_IOT, "GetPolicy", api_get_policy },
    { SERVICE_IOT, "ListPolicies", api_list_policies },
    { SERVICE_IOT, "DeletePolicy", api_delete_policy },
    { SERVICE_IOT, "AttachPolicy", api_attach_policy },
    { SERVICE_IOT, "DetachPolicy", api_detach_policy },
    { SERVICE_IOT, "ListAttachedPolicies", api_list_attached_policies },
    { SERVICE_IOT, "ListTargetsForPolicy", api_list_targets_for_policy },
    { SERVICE_IOT, "AttachPrincipalPolicy", api_attach_principal_policy },
    { SERVICE_IOT, "DetachPrincipalPolicy", api_detach_principal_policy },
    { SERVICE_IOT, "ListPrincipalPolicies", api_list_principal_policies },
    { SERVICE_IOT, "ListPolicyPrincipals", api_list_policy_principals },
    { SERVICE_IOT, "CreatePolicyVersion", api_create_policy_version },
    { SERVICE_IOT, "GetPolicyVersion", api_get_policy_version },
    { SERVICE_IOT, "ListPolicyVersions", api_list_policy_versions },
    { SERVICE_IOT, "SetDefaultPolicyVersion", api_set_default_policy_version },
    { SERVICE_IOT, "DeletePolicyVersion", api_delete_policy_version },
    { SERVICE_IOT, "GetEffectivePolicies", api_get_effective_policies },
    { SERVICE_IOT, "TestAuthorization", api_test_authorization },
    { SERVICE_IOT, "CreateThing", api_create_thing },
    { SERVICE_IOT, "DescribeThing", api_describe_thing },
    { SERVICE_IOT, "ListThings", api_list_things },
    { SERVICE_IOT, "UpdateThing", api_update_thing },
    { SERVICE_IOT, "DeleteThing", api_delete_thing },
    { SERVICE_IOT, "AttachThingPrincipal", api_attach_thing_principal },
    { SERVICE_IOT, "DetachThingPrincipal", api_detach_thing_principal },
    { SERVICE_IOT, "ListThingPrincipals", api_list_thing_principals },
    { SERVICE_IOT, "ListPrincipalThings", api_list_principal_things },
    { SERVICE_IOT, "CreateThingType", api_create_thing_type },
    { SERVICE_IOT, "DescribeThingType", api_describe_thing_type },
    { SERVICE_IOT, "ListThingTypes", api_list_thing_types },
    { SERVICE_IOT, "DeprecateThingType", api_deprecate_thing_type },
    { SERVICE_IOT, "DeleteThingType", api_delete_thing_type },
    { SERVICE_IOT, "CreateThingGroup", api_create_thing_group },
    { SERVICE_IOT, "DescribeThingGroup", api_describe_thing_group },
    { SERVICE_IOT, "ListThingGroups", api_list_thing_groups },
    { SERVICE_IOT, "UpdateThingGroup", api_update_thing_group },
    { SERVICE_IOT, "DeleteThingGroup", api_delete_thing_group },
    { SERVICE_IOT, "AddThingToThingGroup", api_add_thing_to_thing_group },
    { SERVICE_IOT, "RemoveThingFromThingGroup", api_remove_thing_from_thing_group },
    { SERVICE_IOT, "ListThingsInThingGroup", api_list_things_in_thing_group },
    { SERVICE_IOT, "ListThingGroupsForThing", api_list_thing_groups_for_thing },
    { SERVICE_IOT, "TagResource", api_tag_resource },
    { SERVICE_IOT, "UntagResource", api_untag_resource },
    { SERVICE_IOT, "ListTagsForResource", api_list_tags_for_resource },
    { SERVICE_IOT, "DescribeEventConfigurations", api_describe_event_configurations },
    { SERVICE_IOT, "UpdateEventConfigurations", api_update_event_configurations },
    { SERVICE_IOT, "SetLoggingOptions", api_set_logging_options },
    { SERVICE_IOT, "GetLoggingOptions", api_get_logging_options },
    { SERVICE_IOT, "SetV2LoggingOptions", api_set_v2_logging_options },
    { SERVICE_IOT, "GetV2LoggingOptions", api_get_v2_logging_options },
    { SERVICE_IOT, "SetV2LoggingLevel", api_set_v2_logging_level },
    { SERVICE_IOT, "ListV2LoggingLevels", api_list_v2_logging_levels },
    { SERVICE_IOT, "DeleteV2LoggingLevel", api_delete_v2_logging_level },
    { SERVICE_IOT, "CreateTopicRule", api_create_topic_rule },
    { SERVICE_IOT, "GetTopicRule", api_get_topic_rule },
    { SERVICE_IOT, "ListTopicRules", api_list_topic_rules },
    { SERVICE_IOT, "ReplaceTopicRule", api_replace_topic_rule },
    { SERVICE_IOT, "DeleteTopicRule", api_delete_topic_rule },
    { SERVICE_IOT, "EnableTopicRule", api_enable_topic_rule },
    { SERVICE_IOT, "DisableTopicRule", api_disable_topic_rule },
    { SERVICE_IOT, "CreateTopicRuleDestination", api_create_topic_rule_destination },
    { SERVICE_IOT, "ConfirmTopicRuleDestination", api_confirm_topic_rule_destination },
    { SERVICE_IOT, "GetTopicRuleDestination", api_get_topic_rule_destination },
    { SERVICE_IOT, "ListTopicRuleDestinations", api_list_topic_rule_destinations },
    { SERVICE_IOT, "UpdateTopicRuleDestination", api_update_topic_rule_destination },
    { SERVICE_IOT, "DeleteTopicRuleDestination", api_delete_topic_rule_destination },
    { SERVICE_IOT, "DescribeEndpoint", api_describe_endpoint },
    { SERVICE_DATA, "Publish", api_publish },
    { SERVICE_DATA, "GetRetainedMessage", api_get_retained_message },
    { SERVICE_DATA, "ListRetainedMessages", api_list_retained_messages },
    { SERVICE_LAMBDA, "CreateFunction", api_create_function },
    { SERVICE_LAMBDA, "GetFunction", api_get_function },
    { SERVICE_LAMBDA, "GetFunctionConfiguration", api_get_function_configuration },
    { SERVICE_LAMBDA, "ListFunctions", api_list_functions },
    { SERVICE_LAMBDA, "UpdateFunctionCode", api_update_function_code },
    { SERVICE_LAMBDA, "UpdateFunctionConfiguration", api_update_function_configuration },
    { SERVICE_LAMBDA, "DeleteFunction", api_delete_function },
    { SERVICE_LAMBDA, "Invoke", api_invoke_function },
    { SERVICE_LAMBDA, "InvokeAsync", api_invoke_async },
    { SERVICE_LAMBDA, "PutFunctionConcurrency", api_put_function_concurrency },
    { SERVICE_LAMBDA, "GetFunctionConcurrency", api_get_function_concurrency },
    { SERVICE_LAMBDA, "DeleteFunctionConcurrency", api_delete_function_concurrency },
    { SERVICE_LAMBDA, "AddPermission", api_add_permission },
    { SERVICE_LAMBDA, "RemovePermission", api_remove_permission },
    { SERVICE_LAMBDA, "GetPolicy", api_get_function_policy },
    /* clang-format on */
};

/* The next segment of a path, without its slash; false at the end. An empty last one is none. */
static bool
next_segment(struct rd *r, struct span *out)
{
    struct rd start = *r;
    size_t len = 0;

    if (rd_left(r) == 0)
        return false;
    while (rd_left(r) > 0 && rd_u8(r) != '/')
        len++;
    *out = rd_span(&start, len);
    return len > 0 || rd_left(r) > 0;
}

/* The path after its first slash, up to the end or `?`. */
static struct rd
after_slash(const char *path)
{
    struct rd r = rd_of(span_of(path, strcspn(path, "?")));

    (void)rd_u8(&r);
    return r;
}

/* Does the path fit the pattern? Labels are appended in order, still encoded. */
static bool
path_fits(const char *pattern, const char *path, struct buf labels[LABELS_MAX])
{
    struct rd want = after_slash(pattern);
    struct rd have = after_slash(path);
    struct span p;
    struct span s;
    size_t label = 0;

    for (size_t i = 0; i < LABELS_MAX; i++)
        labels[i].len = 0;
    while (next_segment(&want, &p)) {
        if (!next_segment(&have, &s) || s.len == 0)
            return false;
        if (span_eq(p, span_str("{+}"))) {
            if (label < LABELS_MAX)
                buf_add(&labels[label], s.ptr, (size_t)(have.pos - s.ptr) + rd_left(&have));
            return true;
        }
        if (!span_eq(p, span_str("{}"))) {
            if (!span_eq(p, s))
                return false;
            continue;
        }
        if (label == LABELS_MAX)
            return false;
        buf_add(&labels[label++], s.ptr, s.len);
    }
    return !next_segment(&have, &s);
}

/* Two operations of Lambda share their path with others and differ by a constant parameter. */
static bool
query_fits(const char *pattern, const char *query)
{
    const char *want = strchr(pattern, '?');

    return want == NULL || strstr(query, want + 1) != NULL;
}

const struct operation *
operation_find(const char *method, const char *path, const char *query,
    struct buf labels[LABELS_MAX], const struct operation **other)
{
    *other = NULL;
    for (size_t i = 0; i < sizeof OPERATIONS / sizeof OPERATIONS[0]; i++) {
        const struct operation *op = &OPERATIONS[i];

        if (strcmp(op->method, method) == 0 && path_fits(op->path, path, labels) &&
            query_fits(op->path, query))
            return op;
    }
    for (size_t i = 0; i < sizeof OPERATIONS / sizeof OPERATIONS[0] && *other == NULL; i++) {
        if (path_fits(OPERATIONS[i].path, path, labels))
            *other = &OPERATIONS[i];
    }
    return NULL;
}

operation_fn
operation_handler(const struct operation *op)
{
    for (size_t i = 0; i < sizeof BUILT / sizeof BUILT[0]; i++) {
        if (BUILT[i].service == op->service && strcmp(BUILT[i].name, op->name) == 0)
            return BUILT[i].handler;
    }
    return NULL;
}

const char *
operation_service(const struct operation *op)
{
    switch (op->service) {
    case SERVICE_IOT:
        return "iot";
    case SERVICE_DATA:
        return "iotdata";
    case SERVICE_LAMBDA:
        return "lambda";
    }
    return "";
}

void
api_operations(api_operation_fn fn, void *arg)
{
    for (size_t i = 0; i < sizeof OPERATIONS / sizeof OPERATIONS[0]; i++)
        fn(arg, operation_service(&OPERATIONS[i]), OPERATIONS[i].name,
            operation_handler(&OPERATIONS[i]) != NULL);
}
