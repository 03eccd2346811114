/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations: service, name, method, path. SPEC aws-iot 1.3, 5.5. Those without a handler are
 * listed so that the refusal can call them by name.
 */
#include "api/internal.h"

#include <string.h>

static const struct operation OPERATIONS[] = {
    /* clang-format off */
    { SERVICE_IOT, "GetRegistrationCode", "GET", "/registrationcode", BODY_NONE, api_get_registration_code },
    { SERVICE_IOT, "DeleteRegistrationCode", "DELETE", "/registrationcode", BODY_NONE, api_delete_registration_code },
    { SERVICE_IOT, "RegisterCACertificate", "POST", "/cacertificate", BODY_JSON, api_register_ca_certificate },
    { SERVICE_IOT, "DescribeCACertificate", "GET", "/cacertificate/{}", BODY_NONE, api_describe_ca_certificate },
    { SERVICE_IOT, "UpdateCACertificate", "PUT", "/cacertificate/{}", BODY_JSON, api_update_ca_certificate },
    { SERVICE_IOT, "ListCACertificates", "GET", "/cacertificates", BODY_NONE, api_list_ca_certificates },
    { SERVICE_IOT, "DeleteCACertificate", "DELETE", "/cacertificate/{}", BODY_NONE, api_delete_ca_certificate },
    { SERVICE_IOT, "ListCertificates", "GET", "/certificates", BODY_NONE, api_list_certificates },
    { SERVICE_IOT, "ListCertificatesByCA", "GET", "/certificates-by-ca/{}", BODY_NONE, api_list_certificates_by_ca },
    { SERVICE_IOT, "DescribeCertificate", "GET", "/certificates/{}", BODY_NONE, api_describe_certificate },
    { SERVICE_IOT, "UpdateCertificate", "PUT", "/certificates/{}", BODY_NONE, api_update_certificate },
    { SERVICE_IOT, "DeleteCertificate", "DELETE", "/certificates/{}", BODY_NONE, api_delete_certificate },
    { SERVICE_IOT, "RegisterCertificate", "POST", "/certificate/register", BODY_JSON, api_register_certificate },
    { SERVICE_IOT, "CreateKeysAndCertificate", "POST", "/keys-and-certificate", BODY_NONE, api_create_keys_and_certificate },
    { SERVICE_IOT, "CreateCertificateFromCsr", "POST", "/certificates", BODY_JSON, api_create_certificate_from_csr },
    { SERVICE_IOT, "CreatePolicy", "POST", "/policies/{}", BODY_JSON, api_create_policy },
    { SERVICE_IOT, "GetPolicy", "GET", "/policies/{}", BODY_NONE, api_get_policy },
    { SERVICE_IOT, "ListPolicies", "GET", "/policies", BODY_NONE, api_list_policies },
    { SERVICE_IOT, "DeletePolicy", "DELETE", "/policies/{}", BODY_NONE, api_delete_policy },
    { SERVICE_IOT, "AttachPolicy", "PUT", "/target-policies/{}", BODY_JSON, api_attach_policy },
    { SERVICE_IOT, "DetachPolicy", "POST", "/target-policies/{}", BODY_JSON, api_detach_policy },
    { SERVICE_IOT, "ListAttachedPolicies", "POST", "/attached-policies/{}", BODY_NONE, api_list_attached_policies },
    { SERVICE_IOT, "ListTargetsForPolicy", "POST", "/policy-targets/{}", BODY_NONE, api_list_targets_for_policy },
    { SERVICE_IOT, "AttachPrincipalPolicy", "PUT", "/principal-policies/{}", BODY_NONE, api_attach_principal_policy },
    { SERVICE_IOT, "DetachPrincipalPolicy", "DELETE", "/principal-policies/{}", BODY_NONE, api_detach_principal_policy },
    { SERVICE_IOT, "ListPrincipalPolicies", "GET", "/principal-policies", BODY_NONE, api_list_principal_policies },
    { SERVICE_IOT, "CreateTopicRule", "POST", "/rules/{}", BODY_JSON, api_create_topic_rule },
    { SERVICE_IOT, "GetTopicRule", "GET", "/rules/{}", BODY_NONE, api_get_topic_rule },
    { SERVICE_IOT, "ListTopicRules", "GET", "/rules", BODY_NONE, api_list_topic_rules },
    { SERVICE_IOT, "ReplaceTopicRule", "PATCH", "/rules/{}", BODY_JSON, api_replace_topic_rule },
    { SERVICE_IOT, "DeleteTopicRule", "DELETE", "/rules/{}", BODY_NONE, api_delete_topic_rule },
    { SERVICE_IOT, "EnableTopicRule", "POST", "/rules/{}/enable", BODY_NONE, api_enable_topic_rule },
    { SERVICE_IOT, "DisableTopicRule", "POST", "/rules/{}/disable", BODY_NONE, api_disable_topic_rule },
    { SERVICE_IOT, "DescribeEndpoint", "GET", "/endpoint", BODY_NONE, api_describe_endpoint },
    { SERVICE_DATA, "Publish", "POST", "/topics/{}", BODY_RAW, api_publish },
    { SERVICE_LAMBDA, "CreateFunction", "POST", "/2015-03-31/functions", BODY_JSON, api_create_function },
    { SERVICE_LAMBDA, "GetFunction", "GET", "/2015-03-31/functions/{}", BODY_NONE, api_get_function },
    { SERVICE_LAMBDA, "GetFunctionConfiguration", "GET", "/2015-03-31/functions/{}/configuration", BODY_NONE, api_get_function_configuration },
    { SERVICE_LAMBDA, "ListFunctions", "GET", "/2015-03-31/functions/", BODY_NONE, api_list_functions },
    { SERVICE_LAMBDA, "UpdateFunctionCode", "PUT", "/2015-03-31/functions/{}/code", BODY_JSON, api_update_function_code },
    { SERVICE_LAMBDA, "UpdateFunctionConfiguration", "PUT", "/2015-03-31/functions/{}/configuration", BODY_JSON, api_update_function_configuration },
    { SERVICE_LAMBDA, "DeleteFunction", "DELETE", "/2015-03-31/functions/{}", BODY_NONE, api_delete_function },
    { SERVICE_LAMBDA, "Invoke", "POST", "/2015-03-31/functions/{}/invocations", BODY_RAW, api_invoke_function },
    { SERVICE_LAMBDA, "AddPermission", "POST", "/2015-03-31/functions/{}/policy", BODY_JSON, api_add_permission },
    { SERVICE_LAMBDA, "RemovePermission", "DELETE", "/2015-03-31/functions/{}/policy/{}", BODY_NONE, api_remove_permission },
    { SERVICE_LAMBDA, "GetPolicy", "GET", "/2015-03-31/functions/{}/policy", BODY_NONE, api_get_function_policy },
    /* not built */
    { SERVICE_IOT, "RegisterCertificateWithoutCA", "POST", "/certificate/register-no-ca", BODY_NONE, NULL },
    { SERVICE_IOT, "TransferCertificate", "PATCH", "/transfer-certificate/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "AcceptCertificateTransfer", "PATCH", "/accept-certificate-transfer/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "CancelCertificateTransfer", "PATCH", "/cancel-certificate-transfer/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "RejectCertificateTransfer", "PATCH", "/reject-certificate-transfer/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "ListOutgoingCertificates", "GET", "/certificates-out-going", BODY_NONE, NULL },
    { SERVICE_IOT, "CreatePolicyVersion", "POST", "/policies/{}/version", BODY_NONE, NULL },
    { SERVICE_IOT, "GetPolicyVersion", "GET", "/policies/{}/version/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "ListPolicyVersions", "GET", "/policies/{}/version", BODY_NONE, NULL },
    { SERVICE_IOT, "SetDefaultPolicyVersion", "PATCH", "/policies/{}/version/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "DeletePolicyVersion", "DELETE", "/policies/{}/version/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "ListPolicyPrincipals", "GET", "/policy-principals", BODY_NONE, NULL },
    { SERVICE_IOT, "GetEffectivePolicies", "POST", "/effective-policies", BODY_NONE, NULL },
    { SERVICE_IOT, "TestAuthorization", "POST", "/test-authorization", BODY_NONE, NULL },
    { SERVICE_IOT, "CreateThing", "POST", "/things/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "DescribeThing", "GET", "/things/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "ListThings", "GET", "/things", BODY_NONE, NULL },
    { SERVICE_IOT, "UpdateThing", "PATCH", "/things/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "DeleteThing", "DELETE", "/things/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "AttachThingPrincipal", "PUT", "/things/{}/principals", BODY_NONE, NULL },
    { SERVICE_IOT, "DetachThingPrincipal", "DELETE", "/things/{}/principals", BODY_NONE, NULL },
    { SERVICE_IOT, "ListThingPrincipals", "GET", "/things/{}/principals", BODY_NONE, NULL },
    { SERVICE_IOT, "ListPrincipalThings", "GET", "/principals/things", BODY_NONE, NULL },
    { SERVICE_IOT, "CreateThingType", "POST", "/thing-types/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "DescribeThingType", "GET", "/thing-types/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "ListThingTypes", "GET", "/thing-types", BODY_NONE, NULL },
    { SERVICE_IOT, "DeprecateThingType", "POST", "/thing-types/{}/deprecate", BODY_NONE, NULL },
    { SERVICE_IOT, "DeleteThingType", "DELETE", "/thing-types/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "CreateThingGroup", "POST", "/thing-groups/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "DescribeThingGroup", "GET", "/thing-groups/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "ListThingGroups", "GET", "/thing-groups", BODY_NONE, NULL },
    { SERVICE_IOT, "UpdateThingGroup", "PATCH", "/thing-groups/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "DeleteThingGroup", "DELETE", "/thing-groups/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "AddThingToThingGroup", "PUT", "/thing-groups/addThingToThingGroup", BODY_NONE, NULL },
    { SERVICE_IOT, "RemoveThingFromThingGroup", "PUT", "/thing-groups/removeThingFromThingGroup", BODY_NONE, NULL },
    { SERVICE_IOT, "ListThingsInThingGroup", "GET", "/thing-groups/{}/things", BODY_NONE, NULL },
    { SERVICE_IOT, "ListThingGroupsForThing", "GET", "/things/{}/thing-groups", BODY_NONE, NULL },
    { SERVICE_IOT, "CreateTopicRuleDestination", "POST", "/destinations", BODY_NONE, NULL },
    { SERVICE_IOT, "ConfirmTopicRuleDestination", "GET", "/confirmdestination/{+}", BODY_NONE, NULL },
    { SERVICE_IOT, "GetTopicRuleDestination", "GET", "/destinations/{+}", BODY_NONE, NULL },
    { SERVICE_IOT, "ListTopicRuleDestinations", "GET", "/destinations", BODY_NONE, NULL },
    { SERVICE_IOT, "UpdateTopicRuleDestination", "PATCH", "/destinations", BODY_NONE, NULL },
    { SERVICE_IOT, "DeleteTopicRuleDestination", "DELETE", "/destinations/{+}", BODY_NONE, NULL },
    { SERVICE_IOT, "DescribeEventConfigurations", "GET", "/event-configurations", BODY_NONE, NULL },
    { SERVICE_IOT, "UpdateEventConfigurations", "PATCH", "/event-configurations", BODY_NONE, NULL },
    { SERVICE_IOT, "CreateProvisioningTemplate", "POST", "/provisioning-templates", BODY_NONE, NULL },
    { SERVICE_IOT, "DescribeProvisioningTemplate", "GET", "/provisioning-templates/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "ListProvisioningTemplates", "GET", "/provisioning-templates", BODY_NONE, NULL },
    { SERVICE_IOT, "UpdateProvisioningTemplate", "PATCH", "/provisioning-templates/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "DeleteProvisioningTemplate", "DELETE", "/provisioning-templates/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "CreateProvisioningTemplateVersion", "POST", "/provisioning-templates/{}/versions", BODY_NONE, NULL },
    { SERVICE_IOT, "DescribeProvisioningTemplateVersion", "GET", "/provisioning-templates/{}/versions/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "ListProvisioningTemplateVersions", "GET", "/provisioning-templates/{}/versions", BODY_NONE, NULL },
    { SERVICE_IOT, "DeleteProvisioningTemplateVersion", "DELETE", "/provisioning-templates/{}/versions/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "CreateProvisioningClaim", "POST", "/provisioning-templates/{}/provisioning-claim", BODY_NONE, NULL },
    { SERVICE_IOT, "RegisterThing", "POST", "/things", BODY_NONE, NULL },
    { SERVICE_IOT, "SetLoggingOptions", "POST", "/loggingOptions", BODY_NONE, NULL },
    { SERVICE_IOT, "GetLoggingOptions", "GET", "/loggingOptions", BODY_NONE, NULL },
    { SERVICE_IOT, "SetV2LoggingOptions", "POST", "/v2LoggingOptions", BODY_NONE, NULL },
    { SERVICE_IOT, "GetV2LoggingOptions", "GET", "/v2LoggingOptions", BODY_NONE, NULL },
    { SERVICE_IOT, "SetV2LoggingLevel", "POST", "/v2LoggingLevel", BODY_NONE, NULL },
    { SERVICE_IOT, "ListV2LoggingLevels", "GET", "/v2LoggingLevel", BODY_NONE, NULL },
    { SERVICE_IOT, "DeleteV2LoggingLevel", "DELETE", "/v2LoggingLevel", BODY_NONE, NULL },
    { SERVICE_IOT, "TagResource", "POST", "/tags", BODY_NONE, NULL },
    { SERVICE_IOT, "UntagResource", "POST", "/untag", BODY_NONE, NULL },
    { SERVICE_IOT, "ListTagsForResource", "GET", "/tags", BODY_NONE, NULL },
    { SERVICE_IOT, "DescribeDomainConfiguration", "GET", "/domainConfigurations/{}", BODY_NONE, NULL },
    { SERVICE_IOT, "ListDomainConfigurations", "GET", "/domainConfigurations", BODY_NONE, NULL },
    { SERVICE_DATA, "DeleteThingShadow", "DELETE", "/things/{}/shadow", BODY_NONE, NULL },
    { SERVICE_DATA, "GetRetainedMessage", "GET", "/retainedMessage/{}", BODY_NONE, NULL },
    { SERVICE_DATA, "GetThingShadow", "GET", "/things/{}/shadow", BODY_NONE, NULL },
    { SERVICE_DATA, "ListNamedShadowsForThing", "GET", "/api/things/shadow/ListNamedShadowsForThing/{}", BODY_NONE, NULL },
    { SERVICE_DATA, "ListRetainedMessages", "GET", "/retainedMessage", BODY_NONE, NULL },
    { SERVICE_DATA, "UpdateThingShadow", "POST", "/things/{}/shadow", BODY_NONE, NULL },
    { SERVICE_LAMBDA, "InvokeAsync", "POST", "/2014-11-13/functions/{}/invoke-async/", BODY_NONE, NULL },
    { SERVICE_LAMBDA, "PublishVersion", "POST", "/2015-03-31/functions/{}/versions", BODY_NONE, NULL },
    { SERVICE_LAMBDA, "ListVersionsByFunction", "GET", "/2015-03-31/functions/{}/versions", BODY_NONE, NULL },
    { SERVICE_LAMBDA, "CreateAlias", "POST", "/2015-03-31/functions/{}/aliases", BODY_NONE, NULL },
    { SERVICE_LAMBDA, "ListAliases", "GET", "/2015-03-31/functions/{}/aliases", BODY_NONE, NULL },
    { SERVICE_LAMBDA, "GetAlias", "GET", "/2015-03-31/functions/{}/aliases/{}", BODY_NONE, NULL },
    { SERVICE_LAMBDA, "UpdateAlias", "PUT", "/2015-03-31/functions/{}/aliases/{}", BODY_NONE, NULL },
    { SERVICE_LAMBDA, "DeleteAlias", "DELETE", "/2015-03-31/functions/{}/aliases/{}", BODY_NONE, NULL },
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

static struct rd
after_slash(const char *path)
{
    struct rd r = rd_of(span_str(path));

    (void)rd_u8(&r);
    return r;
}

/* Does the path fit the pattern? Labels are appended in order, still encoded. */
static bool
fits(const char *pattern, const char *path, struct buf labels[LABELS_MAX])
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
        if (span_eq(p, span_str("{+}")))
            return true;
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

const struct operation *
operation_find(const char *method, const char *path, struct buf labels[LABELS_MAX],
    const struct operation **other)
{
    *other = NULL;
    for (size_t i = 0; i < sizeof OPERATIONS / sizeof OPERATIONS[0]; i++) {
        if (!fits(OPERATIONS[i].path, path, labels))
            continue;
        if (strcmp(OPERATIONS[i].method, method) == 0)
            return &OPERATIONS[i];
        *other = &OPERATIONS[i];
    }
    return NULL;
}
