import { useMutation, type UseMutationResult, useQueryClient } from '@tanstack/react-query';
import { useRouter } from '@tanstack/react-router';

import { api, call } from '@/lib/api/client';
import { forgetAccount, sessionQuery } from '@/lib/session';

export function useLogOutEverywhere(): UseMutationResult<unknown, Error, void> {
  const router = useRouter();
  const queryClient = useQueryClient();
  return useMutation({
    mutationFn: () => call(api.DELETE('/v1/sessions')),
    onSuccess: async () => {
      await router.navigate({ to: '/' }); // a page that needs nobody, before there is nobody
      queryClient.setQueryData(sessionQuery.queryKey, null);
      forgetAccount(queryClient);
    },
  });
}
