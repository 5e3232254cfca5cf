import { Button, PasswordInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { keys } from "~/api/keys";
import { signIn } from "~/api/queries";
import { Logo } from "~/ui/icons";
import styles from "./signin.module.css";

export default function SignIn() {
  const [token, setToken] = useState("");
  const queryClient = useQueryClient();
  const attempt = useMutation({
    mutationFn: signIn,
    onSuccess: (session) => queryClient.setQueryData(keys.session(), session),
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    if (token.trim() !== "") attempt.mutate(token.trim());
  }
  return (
    <main className={styles["page"]}>
      <form className={styles["form"]} onSubmit={submit}>
        <h1><Logo /> pgAnalytics</h1>
        <p>
          Open the sign-in link that <code>pganalytics up</code> printed at its start, or enter the API token. It is the one line of the file <code>token</code> in the data
          directory, or of the file that <code>PGANALYTICS_API_TOKEN_FILE</code> names.
        </p>
        <PasswordInput
          label="API token"
          autoComplete="current-password"
          data-autofocus
          value={token}
          onChange={(event) => setToken(event.currentTarget.value)}
          error={attempt.isError ? attempt.error.message : undefined}
          visibilityToggleButtonProps={{ "aria-label": "Show the token" }}
        />
        <Button type="submit" loading={attempt.isPending}>Sign in</Button>
      </form>
    </main>
  );
}
